"""The host's side of a run: compiled chunks, and between them records, evaluations, checkpoints and the display."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunError, UserError, enough_memory
from nigt_jax.interrupts import interruptions
from nigt_jax.records import MetricsLog, Record, RunFolder, read_metrics
from nigt_jax.runs._begin import begin
from nigt_jax.runs._breakage import Breakage
from nigt_jax.runs._nonsense import first_nonsense
from nigt_jax.runs._totals import Totals, records_of
from nigt_jax.runs._writing import CannotWriteError, own_writes
from nigt_jax.training import RoundMetrics


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


def train(
    config: Config,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    progress: Progress = lambda progress: None,
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
      progress: called after every chunk with a dict of ``iteration``, ``simulated_time``, ``steps_per_second`` (useful
        ones, None before there are any), ``seconds_left`` (None likewise), ``diverged_fraction`` (of the newest
        episodes, those that broke the physics), and, where one was made, an evaluation.
      interrupted: looked at between chunks; by default an event that SIGINT and SIGTERM set.
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
      Exception: whatever `progress` or the environment raises, as it is. Before any error but one of the disk is
        raised, a checkpoint of what was computed is written.
    """
    if not isinstance(config, Config):
        raise UserError(f"config: got a {type(config).__name__}, wanted a Config, such as load_config(path) makes")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, allowed: the folder of a run, or one that is not there yet")
    if resume and not folder.exists():
        raise UserError(f"{folder}: no such run folder, so there is nothing to resume")
    where, x64 = RunFolder(folder), jax.config.jax_enable_x64  # type: ignore[attr-defined]
    with contextlib.ExitStack() as stack:
        if interrupted is None:
            interrupted = stack.enter_context(interruptions())

        def outside(told: dict[str, Any]) -> None:
            with jax.enable_x64(x64):  # the user's own code has what the user has asked for
                progress(told)

        stack.enter_context(jax.enable_x64(False))
        stack.enter_context(enough_memory())
        with own_writes(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(where.claimed())
        run = _Run(config, where, resume, outside, environment)
        stack.callback(run.checkpoints.close)
        run.work(interrupted)
        return run.summary(interrupted.is_set())


class _StoppedError(RunError):
    """Numbers show that it makes no sense to go on."""


class _Reached(NamedTuple):
    """How far a run is: replaced as a whole, so that an interruption never finds half of it.

    Attributes:
      iteration: rounds done, all of them in metrics.jsonl.
      state: after them.
      totals: likewise.
    """

    iteration: int
    state: Any
    totals: Totals


class _Run:
    """A run under way: the state on the devices, and everything that is on the disk."""

    def __init__(self, config: Config, folder: RunFolder, resume: bool, progress: Progress, environment: Any):
        if not resume and folder.begun:
            raise UserError(f"{folder.path}: holds a run already; resume=True continues it; or take another folder")
        begun = begin(config, folder, resume, environment)
        self._runtime, self._config, self._folder = begun.runtime, begun.runtime.config, folder
        self._progress = progress
        self.checkpoints = begun.checkpoints
        self._reached = _Reached(begun.iteration, begun.state, Totals(**begun.totals))
        self._began_at = begun.iteration
        with self._writing():
            self._log = MetricsLog(folder.metrics, begun.iteration if begun.iteration > 0 else -1)
        self._breakage = Breakage(self._config.environment.max_diverged)
        self._training_seconds = self._evaluation_seconds = 0.0
        evaluated = [r for r in read_metrics(folder.metrics) if "return_mean" in r]
        self._first: Record | None = evaluated[0] if evaluated else None
        self._last: Record | None = evaluated[-1] if evaluated else None

    def work(self, interrupted: threading.Event) -> None:
        """Everything that is left to do, or until interrupted; in the end there is a checkpoint of it.

        Also where an error ends it, unless that is one of the disk: the error is raised once the checkpoint is written.
        """
        try:
            self._work(interrupted)
            self._save()
        except CannotWriteError:
            raise
        except _StoppedError as error:
            raise RunError(f"{error}; {self._keep()}") from None
        except BaseException as error:  # a second Ctrl-C among them, also while the checkpoint is written
            error.add_note(self._keep())
            raise

    def _work(self, interrupted: threading.Event) -> None:
        iterations = self._config.training.iterations
        if interrupted.is_set() or not (self._reached.iteration < iterations or self._owes_evaluation()):
            return
        self._runtime.compile()
        if self._reached.iteration == 0:
            self._begin()
        elif self._owes_evaluation():
            self._amend()
        while self._reached.iteration < iterations and not interrupted.is_set():
            self._advance()

    def _keep(self) -> str:
        """Writes a checkpoint of what was computed, if there is none yet, and says where the run can go on."""
        with contextlib.suppress(Exception):  # what has ended the run is told, not what came of that
            if self._reached.iteration > (self.checkpoints.latest or 0):
                self._save()
        latest = self.checkpoints.latest
        return "there is no checkpoint yet" if latest is None else f"the last checkpoint is of iteration {latest}"

    def summary(self, interrupted: bool) -> Summary:
        """How this call went."""
        return Summary(
            iteration=self._reached.iteration,
            interrupted=interrupted and self._reached.iteration < self._config.training.iterations,
            first_evaluation=self._first,
            last_evaluation=self._last,
            totals=self._reached.totals,
            compile_seconds=self._runtime.compile_seconds,
            training_seconds=self._training_seconds,
            evaluation_seconds=self._evaluation_seconds,
            simulated_time=self._runtime.simulated_time(self._reached.state),
            devices=self._runtime.hardware.devices,
            device_name=self._runtime.hardware.name,
            lanes=self._runtime.hardware.lanes,
        )

    def _begin(self) -> None:
        """The record of iteration 0: nothing counted yet, and the return of the untrained policy."""
        untrained = {"iteration": 0, **Totals().counters(), "simulated_time": 0.0, "wall_time": 0.0}
        self._first = self._evaluated(untrained, self._reached.state)
        if self._first["evaluation_diverged"]:
            self._reached = self._reached._replace(state=self._runtime.acquainted(self._reached.state))
            self._first = self._evaluated(untrained, self._reached.state)
        with self._writing():
            self._log.append([self._first])
        self._show(self._first, steps=0, seconds=0.0)

    def _amend(self) -> None:
        """The evaluation that the newest record lacks."""
        record = self._evaluated(self._log.last(), self._reached.state)
        with self._writing():
            self._log.amend(record)

    def _advance(self) -> None:
        """One chunk, to the next round at which something is due; its records, and what is due."""
        rounds = self._rounds_until_due()
        state, metrics, seconds = self._run(rounds)
        reached, message_bytes = self._reached, self._runtime.message_bytes
        records, totals = records_of(metrics, reached.iteration, reached.totals, seconds, message_bytes)
        self._refuse_nonsense(metrics, records)
        reached = _Reached(self._reached.iteration + rounds, state, totals)
        try:
            if self._due(reached.iteration, self._config.evaluation.every):
                records[-1] = self._evaluated(records[-1], state)
        finally:  # an evaluation that fails is owed; the rounds are done
            with self._writing():
                self._log.append(records)
            self._reached = reached
        episodes = int(metrics.gradients.sum()) * self._config.method.trajectories_per_gradient
        self._breakage.note(episodes, int(metrics.diverged.sum()))
        self._show(records[-1], int(metrics.env_steps.sum()), seconds)
        if self._breakage.too_much:
            raise _StoppedError(self._breakage.in_words)
        if self._due(reached.iteration, self._config.checkpoint.every):
            self._save()

    def _run(self, rounds: int) -> tuple[Any, RoundMetrics, float]:
        """The state and the metrics after so many rounds more, and the seconds they took."""
        on_devices = self._reached.state  # will be used up; should this fail, there is a copy on the host
        self._reached = self._reached._replace(state=jax.device_get(on_devices))
        started = time.perf_counter()
        state, metrics = self._runtime.run(on_devices, rounds)
        seconds = time.perf_counter() - started
        self._training_seconds += seconds
        return state, jax.tree.map(lambda m: m[:, 0], metrics), seconds  # of the only run

    def _save(self) -> None:
        """A checkpoint of this moment; what metrics.jsonl holds is never behind it."""
        iteration, state, totals = self._reached
        notes = {"totals": dataclasses.asdict(totals), "config": to_dict(self._folder.portable(self._config))}
        with self._writing():
            self.checkpoints.save(iteration, state, notes)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return own_writes(self._folder.path, self.checkpoints)

    def _owes_evaluation(self) -> bool:
        """Whether the newest rounds are recorded without the evaluation that was due after them."""
        reached, last = self._reached.iteration, self._last
        evaluated = last is not None and last["iteration"] == reached
        return reached > 0 and not evaluated and self._due(reached, self._config.evaluation.every)

    def _due(self, iteration: int, every: int) -> bool:
        return iteration % every == 0 or iteration == self._config.training.iterations

    def _rounds_until_due(self) -> int:
        """Chunks end where they would have without an interruption, so that a resumed run is the same run."""
        config, now = self._config, self._reached.iteration
        steps = (config.training.chunk, config.evaluation.every, config.checkpoint.every)
        return min(config.training.iterations, *((now // every + 1) * every for every in steps)) - now

    def _evaluated(self, record: Record, state: Any) -> Record:
        started = time.perf_counter()
        evaluated = record | self._runtime.evaluate(state)[0]
        self._evaluation_seconds += time.perf_counter() - started
        if not np.isfinite(evaluated["return_mean"]):
            raise _StoppedError(f"the return at iteration {record['iteration']} is not finite")
        self._last = evaluated
        return evaluated

    def _refuse_nonsense(self, metrics: RoundMetrics, records: list[Record]) -> None:
        """Stops at the first round that never ends or cannot be right; what came before it is recorded."""
        iteration, state = self._reached.iteration, self._reached.state
        before = self._runtime.simulated_time(state)
        wrong = first_nonsense(metrics, self._config, iteration, before)
        if wrong is not None:
            first, what = wrong
            with self._writing():
                self._log.append(records[:first])
            if not (metrics.complete[first] or metrics.too_large[first]):
                what = self._runtime.what_never_ends(state, iteration, first)
            raise _StoppedError(what)

    def _show(self, record: Record, steps: int, seconds: float) -> None:
        done = self._reached.iteration - self._began_at
        busy = self._training_seconds + self._evaluation_seconds
        left = busy / done * (self._config.training.iterations - self._reached.iteration) if done else None
        speed = steps / seconds if seconds else None
        told = {"steps_per_second": speed, "seconds_left": left, "diverged_fraction": self._breakage.fraction}
        self._progress(record | told)
