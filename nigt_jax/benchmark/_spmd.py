"""Training under pmap beside the same training under shard_map."""

import dataclasses
import statistics
import time
from typing import Any, Literal

import jax
import numpy as np

from nigt_jax.config import Config
from nigt_jax.keys import without_keys
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training import TrainState

_KINDS: tuple[Literal["pmap", "shard_map"], ...] = ("pmap", "shard_map")


def compare_spmd(config: Config, rounds: int, turns: int) -> dict[str, Any]:
    """Seconds of the same rounds under both, which go first by turns; each goes on from where its last turn has ended.

    Args:
      config: a run's configuration.
      rounds: of training in a turn.
      turns: how often; one more warms up.

    Returns:
      For each kind median ``seconds`` of a turn and ``compile_seconds`` of the program of rounds; the ``ratios``
      shard_map / pmap, one a turn; and ``same_state``, whether both came to the same numbers, bit for bit.
    """
    compiled = {kind: _compiled(config, kind, rounds) for kind in _KINDS}
    runtimes = {kind: runtime for kind, (runtime, _) in compiled.items()}
    states = {kind: runtime.initial_state() for kind, runtime in runtimes.items()}
    times: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for turn in range(turns + 1):
        for kind in _KINDS if turn % 2 else _KINDS[::-1]:
            started = time.perf_counter()
            states[kind], _ = runtimes[kind].run(states[kind], rounds)
            times[kind].append(time.perf_counter() - started)
    return {
        "rounds": rounds,
        "devices": len(runtimes["pmap"].devices),
        "lanes_per_device": runtimes["pmap"].parts.num_lanes[0],
        "seconds": {kind: statistics.median(took[1:]) for kind, took in times.items()},
        "compile_seconds": {kind: seconds for kind, (_, seconds) in compiled.items()},
        "ratios": [s / p for p, s in zip(times["pmap"][1:], times["shard_map"][1:], strict=True)],
        "same_state": all(map(np.array_equal, *(_numbers(states[kind]) for kind in _KINDS))),
    }


def _compiled(config: Config, kind: Literal["pmap", "shard_map"], rounds: int) -> tuple[SimulatedRuntime, float]:
    training = dataclasses.replace(config.training, spmd=kind, chunk=rounds)
    runtime = SimulatedRuntime(dataclasses.replace(config, training=training))
    started = time.perf_counter()
    _ = runtime.chunk
    return runtime, time.perf_counter() - started


def _numbers(state: TrainState) -> list[np.ndarray]:
    """All arrays of a state, on the host."""
    return list(map(np.asarray, jax.tree.leaves(without_keys(state))))
