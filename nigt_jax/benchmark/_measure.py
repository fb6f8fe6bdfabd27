"""Stages in turns, on all devices of a run, from the same untrained state."""

import contextlib
import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from nigt_jax.benchmark._machine import machine
from nigt_jax.benchmark._profile import Profile, profile
from nigt_jax.benchmark._stages import PROGRAMS, Shared, play_stages
from nigt_jax.benchmark._turns import take_turns
from nigt_jax.config import Config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training import TrainState, whole_steps

_FIRST = 2  # turns of a stage on its own, for a first figure as soon as its program is compiled


@dataclasses.dataclass(frozen=True)
class Row:
    """What one stage was measured to do.

    Attributes:
      stage: one of STAGES.
      seconds: seconds of each turn.
      useful_steps: steps of episodes, up to their ends, in one turn of several rounds on all devices.
      computed_steps: likewise, with those of idle lanes.
    """

    stage: str
    seconds: list[float]
    useful_steps: int
    computed_steps: int

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
class Compiled:
    """A program of one stage or of several.

    Attributes:
      stages: those that share it.
      seconds: seconds to trace and compile it.
    """

    stages: tuple[str, ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Report:
    """A machine's figures.

    Attributes:
      machine: device, number of devices, cores, versions, date.
      setting: environment, lanes, episodes, and so on.
      programs: what was compiled.
      rows: one a stage.
      profile: a traced round, where one was asked for.
    """

    machine: dict[str, Any]
    setting: dict[str, Any]
    programs: list[Compiled]
    rows: list[Row]
    profile: Profile | None


def measure(
    config: Config,
    turns: int,
    trace: Path | None = None,
    announce: Callable[[str], None] = lambda text: None,
    show: Callable[[Row], None] = lambda row: None,
) -> Report:
    """Measures every stage; in each turn all of them, one after the other, so that they see the same machine.

    Args:
      config: a run's configuration, whose method sums gradients in rounds; its lanes and devices are used. Stages
        before the whole round have its first block of episodes.
      turns: how often; one more warms up.
      trace: a folder for a trace of a round, by JAX's profiler; None for none.
      announce: told what is done next, where it takes long.
      show: given a first figure of every stage, of a few turns on its own, as soon as its program is compiled.

    Raises:
      UserError: the method's rounds do not consist of these stages.
    """
    if METHODS[config.method.name].kind != "summed":
        able = ", ".join(name for name, method in METHODS.items() if method.kind == "summed")
        raise UserError(f"method.name: got {config.method.name}, whose rounds have other stages, allowed: {able}")
    with jax.enable_x64(False):  # as training
        return _measured(config, turns, trace, announce, show)


def _measured(
    config: Config, turns: int, trace: Path | None, announce: Callable[[str], None], show: Callable[[Row], None]
) -> Report:
    announce("starting")
    runtime = SimulatedRuntime(config)
    state = runtime.initial_state()
    programs: list[Compiled] = []
    ways: dict[str, Callable[[TrainState], Any]] = {}
    first: list[Row] = []
    for shared in PROGRAMS:
        announce(f"compiling {', '.join(shared.stages)}")
        started = time.perf_counter()
        with without_cache():
            own = compile_stages(runtime, shared)
        programs.append(Compiled(shared.stages, time.perf_counter() - started))
        for stage, way in own.items():
            first.append(_first(stage, way, state))
            show(first[-1])
        ways |= own
    announce(f"all stages in {turns} turns")
    took = take_turns(ways, state, turns)
    rows = [dataclasses.replace(row, seconds=took[row.stage]) for row in first]
    seen = None
    if trace is not None:
        announce("compiling and tracing a round")
        seen = profile(runtime, trace)
    return Report(machine(runtime.devices), _setting(runtime), programs, rows, seen)


def compile_stages(runtime: SimulatedRuntime, shared: Shared) -> dict[str, Callable[[TrainState], Any]]:
    """Compiles a program; by stage, what it makes of a state where it is told to go so far."""
    far = [runtime.replicated(np.int32(number)) for number in range(len(shared.stages))]
    program = runtime.program(functools.partial(play_stages, shared), shared=(far[0],))

    def told(number: jax.Array) -> Callable[[TrainState], Any]:
        return lambda state: program(state, number)

    return {stage: told(number) for stage, number in zip(shared.stages, far, strict=True)}


def _first(stage: str, way: Callable[[TrainState], Any], state: TrainState) -> Row:
    """A stage on its own."""
    useful, computed, _ = way(state)
    seconds = take_turns({stage: way}, state, _FIRST)[stage]
    return Row(stage, seconds, int(whole_steps(useful)), int(whole_steps(computed)))


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """A program from a cache would make its compile seconds those of whatever was compiled before."""
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
    programs = [dataclasses.asdict(program) for program in report.programs]
    seen = {} if report.profile is None else {"profile": dataclasses.asdict(report.profile)}
    figures = {"machine": report.machine, "setting": report.setting, "programs": programs, "stages": rows}
    return json.dumps(figures | seen, indent=1) + "\n"


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
        "parameters": runtime.parameters,
        "spmd": config.training.spmd,
    }
