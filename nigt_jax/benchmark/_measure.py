"""Stages in turns, on all devices of a run, from the same untrained state."""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import Array

from nigt_jax.benchmark._profile import Profile, profile
from nigt_jax.benchmark._stages import STAGES, Stage
from nigt_jax.benchmark._turns import take_turns
from nigt_jax.collectives import sum_over
from nigt_jax.config import Config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS
from nigt_jax.runtimes import SimulatedRuntime, device_name
from nigt_jax.training import Hyperparameters, Parts, TrainState, add_steps, count_steps, whole_steps

_ROUNDS = 3  # in a program: memory is taken from the system once for all of them, as for a chunk of training


@dataclasses.dataclass(frozen=True)
class Row:
    """What one stage was measured to do.

    Attributes:
      stage: a key of STAGES.
      seconds: seconds of each turn.
      useful_steps: steps of episodes, up to their ends, in one turn of several rounds on all devices.
      computed_steps: likewise, with those of idle lanes.
      compile_seconds: seconds to trace and compile it.
    """

    stage: str
    seconds: list[float]
    useful_steps: int
    computed_steps: int
    compile_seconds: float

    @property
    def useful_per_second(self) -> float:
        """Median of the turns."""
        return self.useful_steps / statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Of the turns, useful steps a second."""
        rates = [self.useful_steps / seconds for seconds in self.seconds]
        low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
        return low, high


@dataclasses.dataclass(frozen=True)
class Report:
    """A machine's figures.

    Attributes:
      machine: device, number of devices, cores, versions, date.
      setting: environment, lanes, episodes, and so on.
      rows: one a stage.
      profile: a traced round, where one was asked for.
    """

    machine: dict[str, Any]
    setting: dict[str, Any]
    rows: list[Row]
    profile: Profile | None


def measure(
    config: Config, turns: int, trace: Path | None = None, progress: Callable[[str], None] = lambda stage: None
) -> Report:
    """Measures every stage; in each turn all of them, one after the other, so that they see the same machine.

    Args:
      config: a run's configuration, whose method sums gradients in rounds; its lanes and devices are used.
      turns: how often; one more warms up.
      trace: a folder for a trace of a round, by JAX's profiler; None for none.
      progress: told what is compiled.

    Raises:
      UserError: the method's rounds do not consist of these stages.
    """
    if METHODS[config.method.name].kind != "summed":
        able = ", ".join(name for name, method in METHODS.items() if method.kind == "summed")
        raise UserError(f"method.name: got {config.method.name}, whose rounds have other stages, allowed: {able}")
    with jax.enable_x64(False):  # as training
        return _measured(config, turns, trace, progress)


def _measured(config: Config, turns: int, trace: Path | None, progress: Callable[[str], None]) -> Report:
    runtime = SimulatedRuntime(config)
    state = runtime.initial_state()
    programs, found = {}, {}
    for name, stage in STAGES.items():
        progress(name)
        started = time.perf_counter()
        with _no_cache():
            programs[name] = runtime.program(functools.partial(_on_all, stage))
        compiled = time.perf_counter() - started
        useful, computed, _ = programs[name](state)
        found[name] = int(whole_steps(useful)), int(whole_steps(computed)), compiled
    took = take_turns(programs, state, turns)
    rows = [Row(name, took[name], *figures) for name, figures in found.items()]
    seen = None
    if trace is not None:
        progress("a round to be traced")
        seen = profile(runtime, trace)
    return Report(machine(runtime.devices), _setting(runtime), rows, seen)


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """A program from a cache would make a stage's compile seconds those of whatever was compiled before."""
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    _use_cache(False)
    try:
        yield
    finally:
        _use_cache(before)


def _use_cache(whether: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", whether)
    compilation_cache.reset_cache()  # or JAX goes on with what it found when it first compiled


def to_json(report: Report) -> str:
    """Everything, and for each stage what was made of its turns."""
    rows = [
        dataclasses.asdict(row) | {"useful_steps_per_second": row.useful_per_second, "quartiles": row.quartiles}
        for row in report.rows
    ]
    seen = {} if report.profile is None else {"profile": dataclasses.asdict(report.profile)}
    return json.dumps({"machine": report.machine, "setting": report.setting, "stages": rows} | seen, indent=1) + "\n"


def machine(devices: list[jax.Device]) -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {name: importlib.metadata.version(name) for name in ("nigt_jax", "jax", "brax", "mujoco")}
    return {
        "device": device_name(devices[0]),
        "devices": len(devices),
        "cores": os.cpu_count(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    } | versions


def in_words(machine: dict[str, Any]) -> str:
    """One line of it."""
    first = f"{machine['devices']} x {machine['device']}, {machine['cores']} cores"
    return f"{first}, jax {machine['jax']}, brax {machine['brax']}, {machine['date']}"


def _setting(runtime: SimulatedRuntime) -> dict[str, Any]:
    config, parts = runtime.config, runtime.parts
    return {
        "environment": config.environment.name,
        "backend": to_dict(config.environment).get("backend", "its own"),
        "horizon": parts.horizon,
        "estimator": config.estimator.name,
        "episodes": config.episodes_per_round,
        "lanes_per_device": parts.num_lanes[0],
        "episodes_per_lane": round(parts.episodes / parts.num_lanes[0], 2),
        "parameters": sum(int(np.prod(x.shape[1:])) for x in jax.tree.leaves(runtime.initial_state().server.sent)),
        "spmd": config.training.spmd,
    }


def _on_all(stage: Stage, parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Any:
    """A stage of a few rounds, other episodes in each; what it makes on all devices."""

    def one(number: Array, sums: Any) -> Any:
        useful, computed, made = stage(parts, state._replace(iteration=state.iteration + number), hyperparameters)
        return add_steps(sums[0], useful), add_steps(sums[1], computed), sums[2] + made

    none = count_steps(jnp.zeros([], jnp.int32))
    nothing = none, none, jnp.zeros([])
    return sum_over(parts.axis, jax.lax.fori_loop(0, _ROUNDS, one, nothing))
