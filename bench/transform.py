"""One update of nigt beside optax's own optimisers: time, state and peak memory, in one interleaved run.

Run `python bench/transform.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nigt_jax
from nigt_jax.benchmark import in_words, machine

REFERENCE = "sgd(momentum=0.9)"
TRANSFORMS: dict[str, Callable[[], optax.GradientTransformation]] = {
    REFERENCE: lambda: optax.sgd(1e-3, momentum=0.9),
    "adam": lambda: optax.adam(1e-3),
    "schedule_free_sgd": lambda: optax.contrib.schedule_free_sgd(1e-3),
    "nigt": lambda: nigt_jax.nigt(1e-3, 0.9),
}
TRIAD = "triad"  # a <- a - s * b in place: the bandwidth that everything is compared with
TRIAD_BYTES, LEAST_BYTES = 3 * 4, 5 * 4  # a parameter: read a, b, write a; read g, d, params, write d, params


@dataclasses.dataclass(frozen=True)
class Contender:
    """A compiled update with donated params and state, and what it is to be called with."""

    compiled: Callable[..., tuple[Any, Any]]
    carry: list[Any]  # [params, state], replaced at every call
    state_bytes: int
    peak_bytes: int  # arguments, results and temporaries, what is donated counted once

    def seconds(self, gradients: Any, calls: int) -> float:
        """Seconds a call, over `calls` calls that wait for one another."""
        start = time.perf_counter()
        for _ in range(calls):
            self.carry[:] = self.compiled(*self.carry, gradients)
        jax.block_until_ready(self.carry)
        return (time.perf_counter() - start) / calls


def main() -> None:
    """Measures every size and layout and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e4, 1e6, 1e8], help="numbers of parameters")
    parser.add_argument("--leaves", type=int, nargs="+", default=[1, 100], help="numbers of arrays they are in")
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which every contender has one turn")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    here = machine(jax.devices()[:1]) | {"optax": optax.__version__}
    print(f"{in_words(here)}, optax {optax.__version__}; {args.rounds} rounds, float32\n")
    print(f"{'parameters':>10} {'arrays':>6}  {'transform':18} {'time':>10} {'ratio':>6} {'quartiles':>11}", end="")
    print(f" {'state':>6} {'peak':>6} {'of limit':>8}")
    records = []
    for size in map(int, args.sizes):
        for leaves in args.leaves:
            for record in measure(size, leaves, args.rounds):
                records.append(here | record)
                print(row(record), flush=True)
            print()
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(size: int, leaves: int, rounds: int) -> list[dict[str, Any]]:
    """The figures of every contender at this size, all of them taking turns."""
    params = [jnp.ones(size // leaves) for _ in range(leaves)]
    gradients = jax.tree.map(lambda p: 0.5 * p, params)
    contenders = {name: contender(make(), params, gradients) for name, make in TRANSFORMS.items()}
    contenders[TRIAD] = contender(optax.scale(-1e-3), params, gradients)
    warm_up = contenders[REFERENCE].seconds(gradients, 2)
    calls = max(1, int(0.01 / warm_up))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, one in contenders.items():
            times[name].append(one.seconds(gradients, calls))
    times = {name: ts[1:] for name, ts in times.items()}  # the first round warms up
    bandwidth = TRIAD_BYTES * size / statistics.median(times[TRIAD])
    records = []
    for name, one in contenders.items():
        ratios = [t / reference for t, reference in zip(times[name], times[REFERENCE], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        records.append(
            {
                "parameters": size,
                "arrays": leaves,
                "transform": name,
                "seconds": statistics.median(times[name]),
                "ratio": middle,
                "quartiles": [low, high],
                "state_bytes_a_parameter": one.state_bytes / size,
                "peak_bytes_a_parameter": one.peak_bytes / size,
                "of_bandwidth_limit": LEAST_BYTES * size / bandwidth / statistics.median(times[name]),
                "bandwidth_bytes_a_second": bandwidth,
            }
        )
    return records


def contender(tx: optax.GradientTransformation, params: Any, gradients: Any) -> Contender:
    """Compiles one update; params are copied, for they will be donated."""

    def step(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.copy, params)
    state = jax.jit(tx.init)(params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, gradients).compile()
    memory: Any = compiled.memory_analysis()
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    state_bytes = sum(x.nbytes for x in jax.tree.leaves(state))
    return Contender(compiled, [params, state], state_bytes, peak + memory.temp_size_in_bytes)


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    milliseconds, (low, high) = 1e3 * record["seconds"], record["quartiles"]
    limit = "" if record["transform"] == TRIAD else f"{record['of_bandwidth_limit']:8.0%}"
    return (
        f"{record['parameters']:10.0e} {record['arrays']:6}  {record['transform']:18} {milliseconds:7.3f} ms "
        f"{record['ratio']:6.2f} {low:5.2f}-{high:5.2f} {record['state_bytes_a_parameter']:6.2f} "
        f"{record['peak_bytes_a_parameter']:6.2f} {limit}"
    )


if __name__ == "__main__":
    main()
