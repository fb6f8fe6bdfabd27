"""``train``: one run, from its configuration to its summary."""

import contextlib
import dataclasses
import math
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.records import Record, RunFolder, Sinks, check_sinks, read_metrics
from nigt_jax.runs._begin import begin
from nigt_jax.runs._ledger import Ledger
from nigt_jax.runs._loop import Loop, Reached, Told
from nigt_jax.runs._opening import opened
from nigt_jax.runs._policy_files import read_policy, write_policy
from nigt_jax.runs._shipped import policy_in
from nigt_jax.runs._standing import Standing
from nigt_jax.runs._totals import Totals
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.runs._writing import own_writes
from nigt_jax.runtimes import Staff


@dataclasses.dataclass
class Summary:
    """How a run went.

    Attributes:
      iteration: rounds done since the start.
      interrupted: whether it was told to stop before the last round.
      first_evaluation: evaluation of iteration 0; None where none was made.
      last_evaluation: the newest; None likewise.
      totals: counters.
      compile_seconds: seconds of this call spent compiling.
      training_seconds: seconds of this call spent in rounds.
      evaluation_seconds: seconds of this call spent in evaluations.
      simulated_time: simulated time at the end, in the clock's unit.
      devices: number of devices that shared the episodes.
      device_name: what they are.
      lanes: number of lanes of each of them.
    """

    iteration: int
    interrupted: bool
    first_evaluation: Record | None
    last_evaluation: Record | None
    totals: Totals
    compile_seconds: float
    training_seconds: float
    evaluation_seconds: float
    simulated_time: float
    devices: int
    device_name: str
    lanes: int


Progress = Callable[[dict[str, Any]], None]
Policies = Callable[[TrainedPolicy, Record], None]


def train(
    config: Config,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    progress: Progress = lambda progress: None,
    policies: Policies | None = None,
    interrupted: threading.Event | None = None,
    environment: Any = None,
) -> Summary:
    """Runs, or goes on with, a training run in its folder.

    Interrupted, it finishes the chunk it is in, writes a checkpoint and returns. It computes in 32 bits, whatever
    ``jax_enable_x64`` says.

    Args:
      config: complete.
      folder: the run's folder; made, with its config.yaml, where it is not there yet.
      resume: go on from the newest checkpoint, or from the start where there is none.
      progress: called after every chunk with a dict of ``iteration``, ``simulated_time``, ``clock`` (what that is to be
        called), ``headline`` (the key of what an evaluation finds), ``steps_per_second`` (useful ones, None before
        there are any), ``seconds_left`` (None likewise), ``diverged_fraction`` (of the newest episodes, those that
        broke the physics), ``workers`` (of real ones what :class:`nigt_jax.runtimes.WorkerNews` says, as dicts), and,
        where one was made, an evaluation.
      policies: called after every evaluation with the policy that was evaluated, and the record of it: the place for
        measures of your own. A policy stays what it is while the run goes on.
      interrupted: looked at between chunks; by default an event that SIGINT, SIGTERM and SIGHUP set.
      environment: a Brax environment without wrappers, instead of the one that the configuration names; see
        :func:`nigt_jax.check_environment`. config.yaml names its class; the command line goes on with that if it needs
        no arguments and does the same.

    Returns:
      How it went.

    Raises:
      UserError: the environment is not one to train in; the folder belongs to another run or to another process, or is
        damaged; the devices asked for are not there; a run cannot go on in this environment, or with these versions or
        recorded times, as it began.
      RunError: a round never ends, a number is not finite, too many episodes break the physics, memory is too small, or
        the disk does not take what was computed.
      Exception: whatever `progress`, `policies` or the environment raises, as it is. Before any error but one of the
        disk is raised, a checkpoint of what was computed is written.
    """
    if not isinstance(config, Config):
        raise UserError(f"config: got a {type(config).__name__}, wanted a Config, such as load_config(path) makes")
    with opened(folder, resume, interrupted) as own, jax.enable_x64(False), contextlib.ExitStack() as stack:
        hand_out = None if policies is None else own.outside(policies)
        run = _Run(config, own.folder, resume, own.outside(progress), hand_out, environment, stack)
        run.loop.work(own.interrupted)
        return run.summary(own.interrupted.is_set())


def _best_of(folder: RunFolder) -> float:
    """The highest evaluation of which the policy was kept; none counts that a full disk has left half of."""
    try:
        kept = read_policy(folder.best).iteration
    except UserError:
        return -math.inf
    return max((r["return_mean"] for r in read_metrics(folder.metrics) if r["iteration"] == kept), default=-math.inf)


class _Run:
    """A run under way."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        resume: bool,
        progress: Progress,
        policies: Policies | None,
        environment: Any,
        closing: contextlib.ExitStack,
    ):
        check_sinks(config)  # before anything is written
        begun = begin(config, folder, resume, environment, closing)
        self._runtime, self._folder, self._progress = begun.runtime, folder, progress
        self._checkpoints = begun.checkpoints
        self._wanted: int | None = None
        writing = lambda: own_writes(folder, begun.checkpoints)
        self._sinks, self._unsunk = Sinks(begun.runtime.config, folder.path), list[Record]()
        closing.callback(self._sinks.close)
        closing.callback(self._sink, None)
        self._ledger = Ledger(begun.runtime.config, folder, begun.iteration, writing, self._unsunk.extend)
        # Once records that are computed again are gone: of these a policy may be kept that is not there yet.
        self._best = _best_of(folder) if begun.runtime.config.checkpoint.keep_best else math.inf
        self._policies = policies
        self._handed_out = -1 if self._ledger.last is None else self._ledger.last["iteration"]
        reached = Reached(begun.state, (self._ledger.standing(Totals(**begun.totals)),))
        self.loop = Loop(self._runtime, begun.checkpoints, [self._ledger], reached, self._notes, writing, self._tell)
        self._look_at_evaluation()  # of which the last process may not have kept the policy

    def summary(self, interrupted: bool) -> Summary:
        """How this call went."""
        (standing,) = self.loop.reached.standings
        hardware = self._runtime.hardware
        return Summary(
            iteration=standing.amounts.iterations,
            interrupted=interrupted and not self.loop.done,
            first_evaluation=self._ledger.first,
            last_evaluation=self._ledger.last,
            totals=standing.totals,
            compile_seconds=self._runtime.compile_seconds,
            training_seconds=self.loop.training_seconds,
            evaluation_seconds=self.loop.evaluation_seconds,
            simulated_time=standing.amounts.simulated_time,
            devices=hardware.devices,
            device_name=hardware.name,
            lanes=hardware.lanes,
        )

    def _notes(self, standings: Sequence[Standing]) -> dict[str, Any]:
        (standing,) = standings
        config = to_dict(self._folder.portable(self._runtime.config))
        return {"totals": dataclasses.asdict(standing.totals), "config": config}

    def _sink(self, begun: np.ndarray | None) -> None:
        if self._unsunk:
            self._sinks.write(self._unsunk, begun)
            self._unsunk.clear()

    def _tell(self, told: Told) -> None:
        self._look_at_evaluation()
        self._sink(self._runtime.begun(self.loop.reached.state)[0] if self._sinks else None)
        staff = self._runtime.staff
        if staff is not None:
            self._keep_durations(staff)
            self._look_who_is_wanted(staff)
        told_more = {
            "steps_per_second": told.steps / told.seconds if told.seconds else None,
            "seconds_left": told.seconds_left,
            "diverged_fraction": self._ledger.breakage.fraction,
            "headline": "return_mean",
            "clock": "seconds" if self._runtime.config.runtime.real_time else "simulated time",
            "workers": [] if staff is None else [news._asdict() for news in staff.news()],
        }
        self._progress(told.records[0] | told_more)

    def _keep_durations(self, staff: Staff) -> None:
        durations = staff.durations()
        if durations:
            with own_writes(self._folder, self._checkpoints):
                self._folder.append_durations(durations)

    def _look_at_evaluation(self) -> None:
        """Of one that has just been made: hands the policy out, and keeps it where it is the best so far."""
        last, state = self._ledger.last, self.loop.reached.state
        if last is None or last["iteration"] != int(state.iteration[0]):
            return
        new, better = last["iteration"] > self._handed_out, last["return_mean"] > self._best
        if not better and (self._policies is None or not new):
            return
        policy = policy_in(self._runtime.config, self._runtime.unplaced(state))
        if better:
            with own_writes(self._folder, self._checkpoints):
                write_policy(policy, self._runtime.config, self._folder.best)
            self._best = last["return_mean"]
        if self._policies is not None and new:
            self._handed_out = last["iteration"]
            self._policies(policy, dict(last))

    def _look_who_is_wanted(self, staff: Staff) -> None:
        """Has as many workers as somebody has asked for in the run's folder; a mistake there ends nothing."""
        try:
            wanted = self._folder.wanted_workers()
            if wanted is not None and wanted != self._wanted:
                staff.want(wanted)
                self._wanted = wanted
        except UserError as error:
            warnings.warn(str(error), RunWarning, stacklevel=2)
