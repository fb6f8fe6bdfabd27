"""The parts: functions of the sizes to figures by name. Rates are of useful steps a second."""

import functools
import json
import statistics
from collections.abc import Callable
from typing import Any

import jax

from nigt_jax.benchmark._figures import stage_figures
from nigt_jax.benchmark._measure import measure, to_json
from nigt_jax.benchmark._runs import compare_runs
from nigt_jax.benchmark._spmd import compare_spmd
from nigt_jax.benchmark._trainers import brax_ppo, train_by_brax, train_by_us
from nigt_jax.benchmark._transform import TRIAD, compare_transforms
from nigt_jax.benchmark._ways import MASKED, QUEUE, compare_ways, runtime_of_ways
from nigt_jax.benchmark.accelerator._scenario import scenario
from nigt_jax.benchmark.accelerator._sizes import Sizes
from nigt_jax.config import BraxEnvironment, Config, check_config
from nigt_jax.runtimes import SimulatedRuntime

Figures = dict[str, Any]
Part = Callable[[Sizes], Figures]

_USUAL, _LARGE = "hopper", "humanoid"  # environments
_WARM_UP, _REPEATS = 6, 4  # chunks of our training beside PPO


def memory(sizes: Sizes) -> Figures:
    """A round of the largest environment: XLA's analysis of its program, and the peak that devices had.

    It comes first, for devices count the peak of the process; those of a CPU count nothing.
    """
    runtime = SimulatedRuntime(_round(_LARGE, sizes))
    analysed = runtime.chunk.peak_bytes() / 2**20
    runtime.run(runtime.initial_state(), 1)
    counted = (runtime.devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    episodes = {"episodes a device at once": runtime.parts.episodes, "MiB by XLA's analysis": analysed}
    return episodes if counted is None else episodes | {"MiB at the peak": counted / 2**20}


def stages(environment: str, sizes: Sizes) -> Figures:
    """The stages of a round, with as many lanes as a measurement has found best."""
    return stage_figures(json.loads(to_json(measure(_round(environment, sizes), sizes.turns))))


def queue(sizes: Sizes) -> Figures:
    """The trajectory queue beside a masked scan over the horizon: the same episodes of an untrained policy."""
    lanes, each = sizes.queue_lanes, sizes.queue_each
    runtime = runtime_of_ways(_USUAL, sizes.queue_horizon, lanes, each, len(jax.devices()))
    found = compare_ways(runtime, [MASKED, QUEUE], sizes.turns)
    figures: Figures = {}
    for way in (QUEUE, MASKED):
        figures[f"{way}, steps/s"] = found[way]["useful_steps_per_second"]
        figures[f"{way}, useful / computed"] = found[way]["useful_per_computed"]
    return figures | {"queue / masked scan": statistics.median(found[QUEUE]["ratios"])}


def runs(sizes: Sizes) -> Figures:
    """Many runs in one program beside one after the other."""
    base = _config(_USUAL, sizes.horizon, 20, lanes=sizes.lanes, chunk=sizes.rounds)
    figures: Figures = {}
    for found in compare_runs(base, sizes.runs, sizes.rounds, sizes.turns, timed=sizes.timed):
        count = found["runs"]
        figures[f"{count} in one program, s"] = found["seconds"]["together"]
        figures[f"{count} one after the other, s"] = found["seconds"]["in sequence"]
        figures[f"{count} in sequence / in one program"] = found["ratio"]
        figures[f"{count} in one program, compiling, s"] = found["compile_seconds"]["together"]
    return figures


def transform(sizes: Sizes) -> Figures:
    """An update of nigt beside optax's own optimisers, in one array."""
    figures: Figures = {"parameters": sizes.parameters}
    for found in compare_transforms(sizes.parameters, 1, max(2, sizes.turns)):
        name = found["transform"]
        if name == TRIAD:
            figures["triad, GB/s"] = found["bandwidth_bytes_a_second"] / 1e9
            continue
        figures[f"{name}, ms"] = 1e3 * found["seconds"]
        figures[f"{name} / sgd"] = found["ratio"]
        figures[f"{name}, of the bandwidth limit"] = found["of_bandwidth_limit"]
        figures[f"{name}, peak, bytes a parameter"] = found["peak_bytes_a_parameter"]
    return figures


def spmd(sizes: Sizes) -> Figures:
    """The same training under pmap and under shard_map."""
    found = compare_spmd(_config(_USUAL, sizes.horizon, 50, lanes=sizes.lanes), sizes.rounds, sizes.turns)
    figures: Figures = {f"{kind}, ms a round": 1e3 * took / sizes.rounds for kind, took in found["seconds"].items()}
    figures |= {f"{kind}, compiling, s": took for kind, took in found["compile_seconds"].items()}
    return figures | {
        "shard_map / pmap": statistics.median(found["ratios"]),
        "the same state, bit for bit": found["same_state"],
    }


def ppo(sizes: Sizes) -> Figures:
    """Training beside Brax's PPO: steps a second that updates learn from, and what starting takes."""
    devices = len(jax.devices())
    lanes = sizes.ppo_lanes * devices
    brax = brax_ppo(
        BraxEnvironment(name=_USUAL, backend="spring"),
        horizon=sizes.horizon,
        lanes=lanes,
        steps=200 * lanes,
        epochs=2 + _REPEATS,
    )
    theirs = train_by_brax(brax, 2, _REPEATS)
    ours = train_by_us(_config(_USUAL, sizes.horizon, 4 * lanes, lanes=sizes.ppo_lanes), _WARM_UP, _REPEATS)
    return {
        "ours, steps/s": ours.steps_per_second,
        "Brax PPO, steps/s": theirs.steps_per_second,
        "ours / Brax PPO": ours.steps_per_second / theirs.steps_per_second,
        "ours, starting, s": ours.starting_seconds,
        "Brax PPO, starting, s": theirs.starting_seconds,
    }


PARTS: dict[str, Part] = {
    "memory": memory,
    "hopper": functools.partial(stages, "hopper"),
    "queue": queue,
    "runs": runs,
    "transform": transform,
    "ppo": ppo,
    "spmd": spmd,
    "scenario": scenario,
    "humanoid": functools.partial(stages, "humanoid"),
    "ant": functools.partial(stages, "ant"),
}


def _round(environment: str, sizes: Sizes) -> Config:
    """A run of large rounds, with as many lanes as a measurement finds best."""
    return _config(environment, sizes.horizon, sizes.episodes * len(jax.devices()), lanes="measured")


def _config(environment: str, horizon: int, episodes: int, lanes: int | str, chunk: int = 1) -> Config:
    return check_config(
        {
            "environment": {"name": environment, "backend": "spring", "horizon": horizon},
            "method": {"batch_size": episodes},
            "training": {"lanes": lanes, "chunk": chunk},
        }
    )
