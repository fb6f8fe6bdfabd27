"""The host's side of runs: compiled chunks, and between them records, evaluations, checkpoints and the display."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

import jax

from nigt_jax.errors import RunError
from nigt_jax.records import Checkpoints, Record
from nigt_jax.runs._account import Account, Entry, Trouble
from nigt_jax.runs._standing import REST, NextStop, Standing, fraction_done, is_done, lists_of, next_stop, passed
from nigt_jax.runs._writing import CannotWriteError, Writing
from nigt_jax.runtimes import Metrics, Rounds, Stop


class Told(NamedTuple):
    """What a loop tells after every chunk.

    Attributes:
      records: the newest record of each run that has made any.
      steps: useful steps of the chunk.
      seconds: that it took.
      fraction_done: of all runs together.
      seconds_left: None before the first chunk.
    """

    records: list[Record]
    steps: int
    seconds: float
    fraction_done: float
    seconds_left: float | None


class Reached(NamedTuple):
    """How far runs are: replaced as a whole, so that an interruption never finds half of it.

    Attributes:
      state: of all of them.
      standings: of each; all of its rounds are in its metrics.jsonl.
    """

    state: Any
    standings: tuple[Standing, ...]

    @property
    def iteration(self) -> int:
        """Rounds of all runs together, which is the number of a checkpoint."""
        return sum(standing.amounts.iterations for standing in self.standings)


Notes = Callable[[Sequence[Standing]], dict[str, Any]]


class _StoppedError(RunError):
    """Numbers show that it makes no sense to go on."""


class Loop:
    """Runs under way that share a program: their state on the devices, and everything that is on the disk.

    Where there is only one, what breaks it ends the loop. Of many, the others go on.

    Args:
      runtime: what computes the rounds.
      checkpoints: of the state of all runs.
      ledgers: the account of each run.
      reached: how far they are.
      notes: maps standings to what a checkpoint notes.
      writing: makes the context in which checkpoints are written.
      tell: called after every chunk.

    Attributes:
      reached: how far they are.
      training_seconds: seconds spent in rounds.
      evaluation_seconds: seconds spent in evaluations.
    """

    def __init__(
        self,
        runtime: Rounds,
        checkpoints: Checkpoints,
        ledgers: Sequence[Account],
        reached: Reached,
        notes: Notes,
        writing: Writing,
        tell: Callable[[Told], None],
    ):
        self._runtime, self._checkpoints, self._ledgers = runtime, checkpoints, list(ledgers)
        self.reached, self._notes, self._writing, self._tell = reached, notes, writing, tell
        self._began_with = self._fraction_done()
        self.training_seconds = self.evaluation_seconds = 0.0

    @property
    def done(self) -> bool:
        """Whether no run goes on."""
        return not any(self._going())

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
        failed = [own.failed is not None for own in self.reached.standings]
        owing = [ledger.owes_evaluation and not bad for ledger, bad in zip(self._ledgers, failed, strict=True)]
        if interrupted.is_set() or (self.done and not any(owing)):
            return
        self._runtime.compile()
        if self.reached.iteration == 0:
            self._begin()
        elif any(owing):
            self._amend(owing)
        while not (self.done or interrupted.is_set()):
            self._advance()

    def _keep(self) -> str:
        """Writes a checkpoint of what was computed, if there is none yet, and says where the run can go on."""
        with contextlib.suppress(Exception):  # what has ended the run is told, not what came of that
            if self.reached.iteration > (self._checkpoints.latest or 0):
                self._save()
        latest = self._checkpoints.latest
        return "there is no checkpoint yet" if latest is None else f"the last checkpoint is of iteration {latest}"

    def _begin(self) -> None:
        """The records of iteration 0: nothing counted yet, and the return of the untrained policy."""
        records, everyone = [ledger.untrained() for ledger in self._ledgers], [True] * len(self._ledgers)
        evaluated, problems = self._evaluated(records, everyone, self.reached.state)
        if any(record.get("evaluation_diverged") for record in evaluated):
            self.reached = self.reached._replace(state=self._runtime.acquainted(self.reached.state))
            evaluated, problems = self._evaluated(records, everyone, self.reached.state)
        self._fail(problems)
        for ledger, record in zip(self._ledgers, evaluated, strict=True):
            ledger.append([record])
        self._show(evaluated, steps=0, seconds=0.0)

    def _amend(self, owing: list[bool]) -> None:
        """The evaluations that newest records lack."""
        newest = [ledger.newest_record() if owes else {} for ledger, owes in zip(self._ledgers, owing, strict=True)]
        records, problems = self._evaluated(newest, owing, self.reached.state)
        self._fail(problems)
        for run in _where(owing):
            self._ledgers[run].amend(records[run])

    def _advance(self) -> None:
        """One chunk, to where something is due in each run; their records, and what is due."""
        before = self.reached.standings
        stops = [
            next_stop(ledger.config, own.amounts) if goes else REST
            for ledger, own, goes in zip(self._ledgers, before, self._going(), strict=True)
        ]
        state, metrics, seconds = self._run(stops)
        columns = [_rounds_of(metrics, run) for run in range(len(stops))]
        entries, problems = self._entries(columns, seconds)
        records = [entry.records for entry in entries]
        reached = Reached(state, tuple(entry.standing for entry in entries))
        try:
            problems |= self._evaluate_due(reached, records, problems.keys())
        finally:  # an evaluation that fails is owed; the rounds are done
            for run in _where(records):
                self._ledgers[run].append(records[run])
            self.reached = reached
        broken = {
            run: self._ledgers[run].note_breakage(records[run][-1]["iteration"], columns[run])
            for run in _where(records)
        }
        self._show([own[-1] for own in records if own], int(metrics.env_steps.sum()), seconds)
        self._fail(problems | {run: what for run, what in broken.items() if what is not None})
        if self._checkpoint_is_due(before):
            self._save()

    def _run(self, stops: list[NextStop]) -> tuple[Any, Metrics, float]:
        """The state and the metrics after the next rounds of each run, and the seconds they took."""
        on_devices = self.reached.state  # will be used up; should this fail, there is a copy on the host
        self.reached = self.reached._replace(state=jax.device_get(on_devices))
        spent = [standing.amounts for standing in self.reached.standings]
        stop = Stop(
            **lists_of(stops),
            spent_gradients=[own.gradients for own in spent],
            spent_env_steps=[own.env_steps for own in spent],
        )
        started = time.perf_counter()
        state, metrics = self._runtime.run(on_devices, [stop.rounds for stop in stops], stop)
        seconds = time.perf_counter() - started
        self.training_seconds += seconds
        return state, metrics, seconds

    def _entries(self, columns: list[Metrics], seconds: float) -> tuple[list[Entry], dict[int, str]]:
        """What the chunk adds to each run's account, with its share of the seconds; and the runs that it has broken."""
        steps = [int(column.env_steps.sum()) for column in columns]
        if not any(steps):  # exact methods make none
            steps = [len(column.made) for column in columns]
        entries, problems = [], {}
        for run, column in enumerate(columns):
            standing, share = self.reached.standings[run], steps[run] / (sum(steps) or 1)
            if not column.made.size:
                entries.append(Entry([], standing, None))
                continue
            entry = self._ledgers[run].entry(standing, column, seconds * share, self._runtime.parameters)
            entries.append(entry)
            if entry.trouble is not None:
                problems[run] = self._in_words(run, entry.trouble)
                if self._alone:  # what is on the devices now cannot be right; what was before is kept
                    self._ledgers[run].append(entry.records)
                    self._fail(problems)
        return entries, problems

    def _in_words(self, run: int, trouble: Trouble) -> str:
        if not trouble.endless:
            return trouble.what
        done = self.reached.standings[run].amounts.iterations
        return self._runtime.what_never_ends(self.reached.state, done, trouble.place, run)

    def _evaluate_due(self, reached: Reached, records: list[list[Record]], broken: Set[int]) -> dict[int, str]:
        """Puts the evaluations that are due into the newest records; says which runs they show to be broken, too."""
        before, after = self.reached.standings, reached.standings
        due = [
            bool(records[run]) and run not in broken and ledger.is_due(before[run].amounts, after[run].amounts)
            for run, ledger in enumerate(self._ledgers)
        ]
        if not any(due):
            return {}
        newest, problems = self._evaluated([own[-1] if own else {} for own in records], due, reached.state)
        for run in _where(due):
            records[run][-1] = newest[run]
        return problems

    def _evaluated(self, records: list[Record], asked: list[bool], state: Any) -> tuple[list[Record], dict[int, str]]:
        """The records of the runs asked for with an evaluation of the state, and those where it is not finite."""
        started = time.perf_counter()
        found = self._runtime.evaluate(state, asked)
        self.evaluation_seconds += time.perf_counter() - started
        records, problems = list(records), {}
        for run in _where(asked):
            problem = self._ledgers[run].problem(records[run]["iteration"], found[run])
            if problem is None:
                records[run] = self._ledgers[run].evaluated(records[run], found[run])
            else:
                problems[run] = problem
        return records, problems

    def _fail(self, problems: dict[int, str]) -> None:
        """Has runs go on no more, and no others."""
        if problems and self._alone:
            raise _StoppedError(problems[0])
        standings = [
            own._replace(failed=problems.get(run, own.failed)) for run, own in enumerate(self.reached.standings)
        ]
        self.reached = self.reached._replace(standings=tuple(standings))

    def _save(self) -> None:
        """A checkpoint of this moment; what metrics.jsonl holds is never behind it."""
        state = self._runtime.unplaced(self.reached.state)
        with self._writing():
            self._checkpoints.save(self.reached.iteration, state, self._notes(self.reached.standings))

    def _checkpoint_is_due(self, before: Sequence[Standing]) -> bool:
        """Whether one is in the run that is the least far of those that were going on, or none goes on any more."""
        pairs = [
            (fraction_done(ledger.config, then.amounts), ledger, then.amounts, now.amounts)
            for ledger, then, now in zip(self._ledgers, before, self.reached.standings, strict=True)
            if then != now
        ]
        if self.done or not pairs:
            return True
        _, ledger, then, now = min(pairs, key=lambda pair: pair[0])
        return passed(ledger.config.checkpoint.every, then, now)

    @property
    def _alone(self) -> bool:
        return len(self._ledgers) == 1

    def _going(self) -> list[bool]:
        """Whether each run goes on."""
        return [
            own.failed is None and not is_done(ledger.config, own.amounts)
            for ledger, own in zip(self._ledgers, self.reached.standings, strict=True)
        ]

    def _fraction_done(self) -> float:
        each = [
            1.0 if own.failed else fraction_done(ledger.config, own.amounts)
            for ledger, own in zip(self._ledgers, self.reached.standings, strict=True)
        ]
        return sum(each) / len(each)

    def _show(self, records: list[Record], steps: int, seconds: float) -> None:
        now = self._fraction_done()
        busy, done = self.training_seconds + self.evaluation_seconds, now - self._began_with
        left = busy / done * (1 - now) if done > 0 else None
        self._tell(Told(records, steps, seconds, now, left))


def _rounds_of(metrics: Metrics, run: int) -> Metrics:
    """The rounds that a run has made."""
    made = int(metrics.made[:, run].sum())
    return jax.tree.map(lambda m: m[:made, run], metrics)


def _where(flags: Sequence[Any]) -> list[int]:
    return [number for number, flag in enumerate(flags) if flag]
