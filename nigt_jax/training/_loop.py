"""The host's side of a run: compiled chunks, and between them records, evaluations, checkpoints and the display."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nigt_jax.clocks import to_float
from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunError, UserError
from nigt_jax.interrupts import interruptions
from nigt_jax.records import MetricsLog, Record, RunFolder, read_metrics
from nigt_jax.training._begin import begin
from nigt_jax.training._nonsense import first_nonsense
from nigt_jax.training._round import RoundMetrics
from nigt_jax.training._spmd import device_name


@dataclasses.dataclass
class Totals:
    """Counters since the start of the run; plain Python numbers, so they neither overflow nor lose small parts.

    Attributes:
      gradients: counted.
      env_steps: of counted episodes.
      computed_steps: that the lanes made for them, idle ones included.
      communications: exchanges of the size of the parameters, one a round, or one an arrival.
      wall_time: seconds in rounds; compilation, evaluation and checkpoints not included.
    """

    gradients: int = 0
    env_steps: int = 0
    computed_steps: int = 0
    communications: int = 0
    wall_time: float = 0.0


@dataclasses.dataclass
class Summary:
    """How a run went.

    Attributes:
      iteration: rounds done since the start.
      interrupted: whether it was told to stop before the last round.
      first_evaluation: of iteration 0; None where none was made.
      last_evaluation: the newest; None likewise.
      totals: counters.
      compile_seconds: of this call.
      training_seconds: of this call, in rounds.
      evaluation_seconds: of this call.
      simulated_time: at the end, in the clock's unit.
      devices: that shared the episodes.
      device_name: what they are.
      lanes: of each of them.
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

    Interrupted, it finishes the chunk it is in, writes a checkpoint and returns.

    Args:
      config: complete.
      folder: of the run; made, with its config.yaml, where it is not there yet.
      resume: go on from the newest checkpoint, or from the start where there is none.
      progress: called after every chunk with a dict of ``iteration``, ``simulated_time``, ``steps_per_second`` (useful
        ones, None before there are any), ``seconds_left`` (None likewise), and, where one was made, an evaluation.
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
      RunError: a round never ends, a number is not finite, or the disk does not take what was computed.
    """
    if not isinstance(config, Config):
        raise UserError(f"config: got a {type(config).__name__}, wanted a Config, such as load_config(path) makes")
    folder = Path(folder)
    where = RunFolder(folder)
    with contextlib.ExitStack() as stack:
        if interrupted is None:
            interrupted = stack.enter_context(interruptions())
        run = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(where.claimed())
            run = _Run(config, where, resume, progress, environment)
            stack.callback(run.checkpoints.close)
            run.work(interrupted)
        except OSError as error:
            safe = run.checkpoints.latest if run is not None else None
            kept = "nothing was computed yet" if safe is None else f"the run is whole up to iteration {safe}"
            raise RunError(
                f"{error.filename or folder}: cannot be written: {error.strerror or error}; {kept}; "
                f"to go on: nigt train {folder} --resume"
            ) from error
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise RunError(f"the device has too little memory: {str(error).splitlines()[0]}") from error
        return run.summary(interrupted.is_set())


class _Run:
    """A run under way: the state on the devices, and everything that is on the disk."""

    def __init__(self, config: Config, folder: RunFolder, resume: bool, progress: Progress, environment: Any):
        if not resume and folder.begun:
            raise UserError(f"{folder.path}: holds a run already; resume=True continues it; or take another folder")
        begun = begin(config, folder, resume, environment)
        self._trainer, self._config, self._folder = begun.trainer, begun.trainer.config, folder
        self._progress = progress
        self.checkpoints = begun.checkpoints
        self._state, self._totals = begun.state, Totals(**begun.totals)
        self.iteration = self._began_at = begun.iteration
        self._log = MetricsLog(folder.metrics, self.iteration if self.iteration > 0 else -1)
        self._training_seconds = self._evaluation_seconds = 0.0
        evaluated = [r for r in read_metrics(folder.metrics) if "return_mean" in r]
        self._first: Record | None = evaluated[0] if evaluated else None
        self._last: Record | None = evaluated[-1] if evaluated else None

    def work(self, interrupted: threading.Event) -> None:
        """Everything that is left to do, or until interrupted; in the end there is a checkpoint of it."""
        left = self.iteration < self._config.training.iterations
        if left and not interrupted.is_set():
            self._trainer.compile()
            if self.iteration == 0:
                self._begin()
        while self.iteration < self._config.training.iterations and not interrupted.is_set():
            self._advance()
        self._save()

    def summary(self, interrupted: bool) -> Summary:
        """How this call went."""
        return Summary(
            iteration=self.iteration,
            interrupted=interrupted and self.iteration < self._config.training.iterations,
            first_evaluation=self._first,
            last_evaluation=self._last,
            totals=self._totals,
            compile_seconds=self._trainer.compile_seconds,
            training_seconds=self._training_seconds,
            evaluation_seconds=self._evaluation_seconds,
            simulated_time=to_float(jax.tree.map(lambda x: x[0], self._state.clock.now)),
            devices=len(self._trainer.devices),
            device_name=device_name(self._trainer.devices[0]),
            lanes=self._trainer.parts.widths[0],
        )

    def _begin(self) -> None:
        """The record of iteration 0: nothing counted yet, and the return of the untrained policy."""
        counters = dict.fromkeys(("gradients", "env_steps", "computed_steps", "communications"), 0)
        self._first = self._evaluated({"iteration": 0, **counters, "simulated_time": 0.0, "wall_time": 0.0})
        self._log.append([self._first])
        self._show(self._first, steps=0, seconds=0.0)

    def _advance(self) -> None:
        """One chunk, to the next round at which something is due; its records, and what is due."""
        rounds = self._rounds_until_due()
        clock = jax.device_get(self._state.clock)  # the state itself is used up
        started = time.perf_counter()
        self._state, metrics = self._trainer.run(self._state, rounds)
        seconds = time.perf_counter() - started
        metrics = jax.tree.map(lambda m: m[:, 0], metrics)  # of the only run
        self._training_seconds += seconds
        records = self._records(metrics, seconds)
        self._refuse_nonsense(metrics, records, clock)
        self.iteration += rounds
        if self._due(self._config.evaluation.every):
            records[-1] = self._evaluated(records[-1])
        self._log.append(records)
        self._show(records[-1], int(metrics.env_steps.sum()), seconds)
        if self._due(self._config.checkpoint.every):
            self._save()

    def _save(self) -> None:
        """A checkpoint of this moment; what metrics.jsonl holds is never behind it."""
        notes = {
            "totals": dataclasses.asdict(self._totals),
            "config": to_dict(self._folder.portable(self._config)),
        }
        self.checkpoints.save(self.iteration, self._state, notes)

    def _due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self._config.training.iterations

    def _rounds_until_due(self) -> int:
        """Chunks end where they would have without an interruption, so that a resumed run is the same run."""
        config, now = self._config, self.iteration
        steps = (config.training.chunk, config.evaluation.every, config.checkpoint.every)
        return min(config.training.iterations, *((now // every + 1) * every for every in steps)) - now

    def _records(self, metrics: RoundMetrics, seconds: float) -> list[Record]:
        """One record a round, from increments to totals; a round's share of the chunk's time is all that is known."""
        records, totals = [], self._totals
        rounds = len(metrics.gradients)
        for k in range(rounds):
            totals.gradients += int(metrics.gradients[k])
            totals.env_steps += int(metrics.env_steps[k])
            totals.computed_steps += int(metrics.computed_steps[k])
            totals.communications += int(metrics.communications[k])
            totals.wall_time += seconds / rounds
            records.append(
                {
                    "iteration": self.iteration + k + 1,
                    "gradients": totals.gradients,
                    "env_steps": totals.env_steps,
                    "computed_steps": totals.computed_steps,
                    "communications": totals.communications,
                    "simulated_time": float(metrics.time.high[k]) + float(metrics.time.low[k]),
                    "wall_time": round(totals.wall_time, 6),
                    "discarded": int(metrics.discarded[k]),
                    "delay": int(metrics.delay[k]),
                    "query_return_mean": float(metrics.query_return_mean[k]),
                    "gradient_norm": float(metrics.gradient_norm[k]),
                    "diverged": int(metrics.diverged[k]),
                }
            )
        return records

    def _evaluated(self, record: Record) -> Record:
        started = time.perf_counter()
        self._last = record | self._trainer.evaluate(self._state)[0]
        self._evaluation_seconds += time.perf_counter() - started
        if not np.isfinite(self._last["return_mean"]):
            raise RunError(f"the return at iteration {record['iteration']} is not finite; {self._saved()}")
        return self._last

    def _refuse_nonsense(self, metrics: RoundMetrics, records: list[Record], clock: Any) -> None:
        """Stops at the first round that never ends or cannot be right; what came before it is recorded."""
        before = to_float(jax.tree.map(lambda x: x[0], clock.now))
        wrong = first_nonsense(metrics, self._config, self.iteration, before)
        if wrong is not None:
            first, what = wrong
            self._log.append(records[:first])
            if not (metrics.complete[first] or metrics.too_large[first]):
                what = self._trainer.what_never_ends(clock, self.iteration, first)
            raise RunError(f"{what}; {self._saved()}")

    def _saved(self) -> str:
        latest = self.checkpoints.latest
        return "there is no checkpoint yet" if latest is None else f"the last checkpoint is of iteration {latest}"

    def _show(self, record: Record, steps: int, seconds: float) -> None:
        done = self.iteration - self._began_at
        busy = self._training_seconds + self._evaluation_seconds
        left = busy / done * (self._config.training.iterations - self.iteration) if done else None
        speed = steps / seconds if seconds else None
        self._progress(record | {"steps_per_second": speed, "seconds_left": left})
