"""One update of nigt beside optax's own optimisers: time, state and peak memory, in one interleaved run."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nigt_jax.compilation import peak_bytes
from nigt_jax.transforms import nigt

REFERENCE = "sgd(momentum=0.9)"
TRANSFORMS: dict[str, Callable[[], optax.GradientTransformation]] = {
    REFERENCE: lambda: optax.sgd(1e-3, momentum=0.9),
    "adam": lambda: optax.adam(1e-3),
    "schedule_free_sgd": lambda: optax.contrib.schedule_free_sgd(1e-3),
    "nigt": lambda: nigt(1e-3, 0.9),
}
TRIAD = "triad"  # a <- a - s * b in place: the bandwidth that everything is compared with
TRIAD_BYTES, LEAST_BYTES = 3 * 4, 5 * 4  # a parameter: read a, b, write a; read g, d, params, write d, params


@dataclasses.dataclass(frozen=True)
class _Contender:
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


def compare_transforms(size: int, leaves: int, rounds: int) -> list[dict[str, Any]]:
    """The figures of every transformation, and of the triad, all of them taking turns.

    Args:
      size: number of parameters, in float32.
      leaves: number of arrays they are in.
      rounds: in which each has one turn; one more warms up.

    Returns:
      A record each: ``seconds`` of an update, its ``ratio`` to SGD with momentum, bytes a parameter of state and peak,
      and the share of the bandwidth limit.
    """
    params = [jnp.ones(size // leaves) for _ in range(leaves)]
    gradients = jax.tree.map(lambda p: 0.5 * p, params)
    contenders = {name: _contender(make(), params, gradients) for name, make in TRANSFORMS.items()}
    contenders[TRIAD] = _contender(optax.scale(-1e-3), params, gradients)
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


def _contender(tx: optax.GradientTransformation, params: Any, gradients: Any) -> _Contender:
    """Compiles one update; params are copied, for they will be donated."""

    def step(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.copy, params)
    state = jax.jit(tx.init)(params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, gradients).compile()
    state_bytes = sum(x.nbytes for x in jax.tree.leaves(state))
    return _Contender(compiled, [params, state], state_bytes, peak_bytes(compiled))
