"""``train`` of a related system: one run, from its configuration to its results."""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax

from nigt_jax.config import SystemConfig, check_system, dotted, to_dict
from nigt_jax.errors import UserError
from nigt_jax.records import Checkpoints, Record, RunFolder, Written, naming_the_writer, read_metrics, written_now
from nigt_jax.related._compiled import Compiled
from nigt_jax.related._ledger import SystemLedger, SystemTotals
from nigt_jax.related._registry import make_system
from nigt_jax.related._system import System
from nigt_jax.runs import Loop, Reached, Standing, Told, are_counters, opened, own_writes

_MAY_CHANGE = (
    *("training.iterations", "training.platform", "training.compilation_cache", "evaluation.every"),
    *("checkpoint.every", "checkpoint.keep"),
)


@dataclasses.dataclass
class SystemSummary:
    """How a run of a related system went.

    Attributes:
      iteration: iterations done since the start.
      interrupted: whether it was told to stop before the last one.
      first_evaluation: evaluation of iteration 0; None where none was made.
      last_evaluation: the newest; None likewise.
      totals: counters.
      results: what to tell a person: a word and a line each.
      simulated_time: at the end, in the clock's unit.
      compile_seconds: seconds of this call spent compiling.
      training_seconds: seconds of this call spent in iterations.
      evaluation_seconds: seconds of this call spent in evaluations.
    """

    iteration: int
    interrupted: bool
    first_evaluation: Record | None
    last_evaluation: Record | None
    totals: SystemTotals
    results: list[tuple[str, str]]
    simulated_time: float
    compile_seconds: float
    training_seconds: float
    evaluation_seconds: float


def train(
    config: SystemConfig,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    progress: Callable[[dict[str, Any]], None] = lambda progress: None,
    interrupted: threading.Event | None = None,
) -> SystemSummary:
    """Runs, or goes on with, a run of a related system in its folder, as :func:`nigt_jax.train` does with training.

    Args:
      config: complete.
      folder: the run's folder; made, with its config.yaml, where it is not there yet.
      resume: go on from the newest checkpoint, or from the start where there is none.
      progress: called after every chunk with a dict of what the newest record says, and ``headline`` (the key of what
        is looked at first), ``clock`` and ``seconds_left`` (None before there is anything to tell).
      interrupted: looked at between chunks; by default an event that SIGINT, SIGTERM and SIGHUP set.

    Returns:
      How it went.

    Raises:
      UserError: the folder belongs to another run or to another process, or is damaged; a run cannot go on with other
        settings than it began with.
      RunError: an iteration never ends, a number is not finite, or the disk does not take what was computed.
    """
    if not isinstance(config, SystemConfig):
        raise UserError(
            f"config: got a {type(config).__name__}, wanted a SystemConfig, such as load_system(path) makes"
        )
    with opened(folder, resume, interrupted) as own, contextlib.ExitStack() as stack:
        run = _Run(config, own.folder, resume, own.outside(progress), stack)
        run.loop.work(own.interrupted)
        return run.summary(own.interrupted.is_set())


class _Run:
    """A run under way."""

    def __init__(
        self,
        config: SystemConfig,
        folder: RunFolder,
        resume: bool,
        progress: Callable[[dict[str, Any]], None],
        stack: contextlib.ExitStack,
    ):
        self._folder, self._progress = folder, progress
        before = folder.written() if resume else None
        if not resume:
            folder.refuse_strangers(config)
        with own_writes(folder):
            checkpoints = Checkpoints(folder.checkpoints, config.checkpoint.keep)
            stack.callback(checkpoints.close)
        totals: dict[str, Any] = {}
        checkpoints.go_back()
        if checkpoints.latest is not None:
            with naming_the_writer(before):
                totals = _goes_on(config, folder, checkpoints)
        with own_writes(folder, checkpoints):
            bound = before if checkpoints.latest is not None else None
            config, trace = stack.enter_context(folder.keeping_trace(config, bound))
        self._system: System = make_system(config)
        stack.enter_context(jax.enable_x64(self._system.x64))
        self._compiled = Compiled(self._system)
        state, iteration = self._compiled.initial_state(), checkpoints.latest or 0
        if checkpoints.latest is not None:
            with naming_the_writer(before):
                state = self._compiled.place(checkpoints.state(state))
        written = Written(versions=written_now(before, iteration), platform=self._compiled.device.platform, trace=trace)
        writing = lambda: own_writes(folder, checkpoints)
        with writing():
            folder.write_provenance(written)
            folder.write_config(config)
        self._ledger = SystemLedger(self._system, folder, iteration, writing)
        reached = Reached(state, (self._ledger.standing(SystemTotals(**totals)),))
        self.loop = Loop(self._compiled, checkpoints, [self._ledger], reached, self._notes, writing, self._tell)

    def summary(self, interrupted: bool) -> SystemSummary:
        """How this call went."""
        (standing,) = self.loop.reached.standings
        last = self._ledger.last
        return SystemSummary(
            iteration=standing.amounts.iterations,
            interrupted=interrupted and not self.loop.done,
            first_evaluation=self._ledger.first,
            last_evaluation=last,
            totals=standing.totals,
            results=[] if last is None else self._system.results(self._up_to(last["iteration"])),
            simulated_time=standing.amounts.simulated_time,
            compile_seconds=self._compiled.compile_seconds,
            training_seconds=self.loop.training_seconds,
            evaluation_seconds=self.loop.evaluation_seconds,
        )

    def _up_to(self, iteration: int) -> list[Record]:
        """The records up to an evaluation; where a run was interrupted, there may be newer ones."""
        return read_metrics(self._folder.metrics)[: iteration + 1]

    def _notes(self, standings: Sequence[Standing]) -> dict[str, Any]:
        (standing,) = standings
        config = to_dict(self._folder.portable(self._system.config))
        return {"totals": dataclasses.asdict(standing.totals), "config": config}

    def _tell(self, told: Told) -> None:
        more = {"headline": self._system.headline, "clock": "simulated time", "seconds_left": told.seconds_left}
        self._progress(told.records[0] | more)


def _goes_on(config: SystemConfig, folder: RunFolder, checkpoints: Checkpoints) -> dict[str, Any]:
    """The counters of the newest checkpoint. UserError where it was made with other settings that matter."""
    notes = checkpoints.notes()
    if not notes.keys() >= {"config", "totals"} or not are_counters(SystemTotals, notes["totals"]):
        raise checkpoints.unreadable("its notes are not complete, or of another version")
    began = check_system(notes["config"], str(checkpoints.path), check_files=False)
    then, now = (dotted(to_dict(own)) for own in (began, folder.portable(config)))
    for key in sorted(now):
        if key not in (*_MAY_CHANGE, "workers.trace") and then.get(key) != now[key]:
            raise UserError(
                f"{folder.config}: {key} is {now[key]}, but the run was made with {then.get(key)}; of a run that has "
                f"begun only these may be changed: {', '.join(_MAY_CHANGE)}"
            )
    return dict(notes["totals"])
