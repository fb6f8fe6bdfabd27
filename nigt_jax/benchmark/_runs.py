"""Many runs in one program beside the same runs one after the other."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax

from nigt_jax.config import Config
from nigt_jax.runtimes import SimulatedRuntime


def compare_runs(
    base: Config,
    counts: Sequence[int],
    rounds: int,
    turns: int,
    *,
    alone: Config | None = None,
    timed: int | None = None,
) -> list[dict[str, Any]]:
    """Seconds of so many runs, each from its start, in one program and one after the other; both take turns.

    Args:
      base: the first run; the others differ from it in seed and step size.
      counts: numbers of runs, each a comparison of its own.
      rounds: of training, at most ``training.chunk``.
      turns: how often; one more warms up.
      alone: the configuration of one run after the other, such as with other lanes; None for `base`.
      timed: runs that are timed one after the other, and stand for the others, whose work is alike; None for all.

    Returns:
      For each count ``seconds`` and ``compile_seconds`` of both ways; ``ratios`` of the
      seconds, one a turn, with their median ``ratio``; ``ratio_with_compilation``; and the lanes of both.
    """
    single, alone_compiled = _compiled(SimulatedRuntime(alone or base))
    found = []
    for count in counts:
        together, compiled = _compiled(SimulatedRuntime(base, runs=_runs(base, count)))
        sample = min(count, timed or count)
        times: dict[str, list[float]] = {"together": [], "in sequence": []}
        for _ in range(turns + 1):
            times["together"].append(_seconds(together, rounds, 1))
            times["in sequence"].append(_seconds(single, rounds, sample) * count / sample)
        found.append(
            {
                "runs": count,
                "rounds": rounds,
                "lanes_together": together.parts.num_lanes[0],
                "lanes_alone": single.parts.num_lanes[0],
            }
            | _summary(times, {"together": compiled, "in sequence": alone_compiled})
        )
    return found


def _summary(times: dict[str, list[float]], compiled: dict[str, float]) -> dict[str, Any]:
    """What the turns say, the first of which has warmed up."""
    measured = {way: turns[1:] for way, turns in times.items()}
    ratios = [a / b for a, b in zip(measured["in sequence"], measured["together"], strict=True)]
    medians = {way: statistics.median(turns) for way, turns in measured.items()}
    total = {way: medians[way] + compiled[way] for way in medians}
    return {
        "seconds": medians,
        "compile_seconds": compiled,
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "ratio_with_compilation": total["in sequence"] / total["together"],
    }


def _runs(base: Config, count: int) -> list[Config]:
    """Seeds and step sizes."""
    rate = lambda k: dataclasses.replace(base.method, learning_rate=0.04 * 2.0 ** -(k % 4))
    return [dataclasses.replace(base, seed=k, method=rate(k)) for k in range(count)]


def _compiled(runtime: SimulatedRuntime) -> tuple[SimulatedRuntime, float]:
    """With its program, and what that took, finding out how many lanes are best included."""
    started = time.perf_counter()
    _ = runtime.chunk
    return runtime, runtime.compile_seconds + time.perf_counter() - started


def _seconds(runtime: SimulatedRuntime, rounds: int, times: int) -> float:
    """What so many runs one after the other take, each from its start. One stands for all: their work is alike."""
    states = [jax.block_until_ready(runtime.initial_state()) for _ in range(times)]
    started = time.perf_counter()
    for state in states:
        runtime.run(state, rounds)
    return time.perf_counter() - started
