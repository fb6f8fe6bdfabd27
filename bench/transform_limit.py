"""Why an update of NIGT on a CPU takes as long as it does: what XLA copies, and what doing without would cost.

Run `python bench/transform_limit.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nigt_jax import nigt
from nigt_jax.benchmark import in_words, machine
from nigt_jax.compilation import peak_bytes
from nigt_jax.transforms import tree_norm

LEARNING_RATE, MOMENTUM = 1e-3, 0.9
REACH = MOMENTUM / (1 - MOMENTUM)


def main() -> None:
    """Prints time, memory and copies of each way, then the errors of two of them after gradients that jump."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1e8, help="number of parameters, in one array")
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which every way has one turn")
    parser.add_argument("--jumps", type=float, nargs="+", default=[1, 1e2, 1e4, 1e6, 1e8], help="norms of a gradient")
    args = parser.parse_args()
    print(in_words(machine(jax.devices()[:1])))
    print("\n| way | ms | times SGD (quartiles) | peak, bytes a parameter | arrays copied |\n|---|---|---|---|---|")
    print(*compared(int(args.size), args.rounds), sep="\n")
    print("\n| gradient / momentum before | error, as it is | error, from the gradient |\n|---|---|---|")
    for jump in args.jumps:
        print(f"| {jump:.0e} | {error(as_it_is, jump):.0e} | {error(from_the_gradient, jump):.0e} |")


def as_it_is(direction: Any, norm: Any, gradient: Any, length: Any = LEARNING_RATE) -> tuple[Any, Any, Any]:
    """From query point to query point as :func:`nigt_jax.nigt` goes: it reads the momentum before and after."""
    after = MOMENTUM * direction + (1 - MOMENTUM) * gradient
    after_norm = tree_norm(after)
    return -length * ((1 + REACH) * (after / after_norm) - REACH * (direction / norm)), after, after_norm


def from_the_gradient(direction: Any, norm: Any, gradient: Any, length: Any = LEARNING_RATE) -> tuple[Any, Any, Any]:
    """The same in exact numbers: reach * d[t-1] = d[t] / (1 - momentum) - g[t], so the momentum before is not read."""
    after = MOMENTUM * direction + (1 - MOMENTUM) * gradient
    after_norm = tree_norm(after)
    before = after / (1 - MOMENTUM) - gradient
    return -length * ((1 + REACH) * (after / after_norm) - before / norm), after, after_norm


def error(way: Callable[..., tuple[Any, Any, Any]], jump: float) -> float:
    """The largest error of a parameter's move, in lengths of the step, after a gradient `jump` times the momentum."""
    draw = np.random.default_rng(0).normal(size=(2, 1000))
    direction, gradient = draw / np.linalg.norm(draw, axis=1, keepdims=True) * np.array([[1], [jump]])
    narrow = jax.jit(way)(*(jnp.asarray(x, jnp.float32) for x in (direction, 1.0, gradient)), 1.0)[0]
    with jax.enable_x64(True):
        wide = jax.jit(way)(*(jnp.asarray(x, jnp.float32).astype(jnp.float64) for x in (direction, 1.0, gradient)), 1.0)
    return float(np.abs(np.asarray(narrow, np.float64) - np.asarray(wide[0])).max())


def compared(size: int, rounds: int) -> list[str]:
    """A line of the table for each way; all take turns."""
    params = jnp.ones(size)
    gradient = 0.5 * params
    sgd, ours = optax.sgd(LEARNING_RATE, momentum=MOMENTUM), nigt(LEARNING_RATE, MOMENTUM)
    momentum = lambda: (jnp.zeros(size), jnp.ones([]))
    ways: dict[str, tuple[Any, Any]] = {
        "sgd(momentum=0.9)": (of_optax(sgd), sgd.init(params)),
        "nigt": (of_optax(ours), ours.init(params)),
        "as it is, bare": (bare(as_it_is), momentum()),
        "from the gradient, bare": (bare(from_the_gradient), momentum()),
    }
    programs: dict[str, Any] = {}
    carried: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name, (step, state) in ways.items():
        programs[name] = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, gradient).compile()
        carried[name] = [jnp.copy(params), state]
    for _ in range(rounds + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            carried[name] = jax.block_until_ready(program(*carried[name], gradient))
            seconds[name].append(time.perf_counter() - started)
    first = next(iter(ways))
    return [line(name, programs[name], seconds[name][1:], seconds[first][1:], size) for name in ways]


def of_optax(tx: optax.GradientTransformation) -> Callable[..., tuple[Any, Any]]:
    """A step of training."""

    def step(params: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    return step


def bare(way: Callable[..., tuple[Any, Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """A step that does nothing but what the formula says."""

    def step(params: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        move, *state = way(*state, gradient)
        return params + move, tuple(state)

    return step


def line(name: str, program: Any, seconds: list[float], reference: list[float], size: int) -> str:
    """A line of the table."""
    low, middle, high = statistics.quantiles([t / other for t, other in zip(seconds, reference, strict=True)], n=4)
    peak = peak_bytes(program) / size
    copies = program.as_text().count(f"f32[{size}]{{0}} copy(")
    milliseconds = 1e3 * statistics.median(seconds)
    return f"| {name} | {milliseconds:.0f} | {middle:.2f} ({low:.2f}-{high:.2f}) | {peak:.1f} | {copies} |"


if __name__ == "__main__":
    main()
