"""The account of a run that is on the disk: its records, and its evaluations."""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nigt_jax.config import Config, SystemConfig
from nigt_jax.records import MetricsLog, Record, RunFolder, read_metrics
from nigt_jax.runs._standing import Amounts, Standing, is_done, passed
from nigt_jax.runs._writing import Writing


class Trouble(NamedTuple):
    """A round that cannot be right.

    Attributes:
      place: its place among the rounds of the chunk.
      what: one clause on it.
      endless: whether it is that it never ends; its clock says more.
    """

    place: int
    what: str
    endless: bool


class Entry(NamedTuple):
    """What a chunk adds to a run's account.

    Attributes:
      records: of its rounds, up to the first that cannot be right.
      standing: after these.
      trouble: that round; None where all may be right.
    """

    records: list[Record]
    standing: Standing
    trouble: Trouble | None


class Account(abc.ABC):
    """Keeps the account of one run; what rounds add to it depends on what they compute.

    Args:
      config: the run's resolved configuration.
      folder: its folder.
      iteration: rounds that its checkpoint has; what the folder has of later ones is dropped.
      writing: makes the context in which the folder is written.
      headline: the key by which a record shows that it has an evaluation, and what that is about.
      tell: called with records that are on the disk, for whoever else takes them.

    Attributes:
      config: the configuration.
      folder: the folder.
      first: evaluation of iteration 0; None where none was made.
      last: the newest evaluation, likewise.
    """

    def __init__(
        self,
        config: Config | SystemConfig,
        folder: RunFolder,
        iteration: int,
        writing: Writing,
        headline: str,
        tell: Callable[[list[Record]], None] = lambda records: None,
    ):
        self.config, self.folder, self._writing, self._tell = config, folder, writing, tell
        self._headline = headline
        with self._writing():
            self._log = MetricsLog(folder.metrics, iteration if iteration > 0 else -1)
        records = read_metrics(folder.metrics)
        evaluated = [record for record in records if headline in record]
        self.first: Record | None = evaluated[0] if evaluated else None
        self.last: Record | None = evaluated[-1] if evaluated else None
        self._newest = [Amounts.of(record) for record in records[-2:]]

    @abc.abstractmethod
    def untrained(self) -> Record:
        """The record of iteration 0, without an evaluation."""

    @abc.abstractmethod
    def entry(self, standing: Standing, metrics: Any, seconds: float, parameters: int) -> Entry:
        """What rounds add, as yet unwritten.

        Args:
          standing: before them.
          metrics: those of the rounds that the run made, on the host.
          seconds: that they took.
          parameters: number of parameters.
        """

    @abc.abstractmethod
    def note_breakage(self, iteration: int, metrics: Any) -> str | None:
        """Counts what was played and cannot be right; one clause where there is too much of it.

        Args:
          iteration: rounds done since the start.
          metrics: those of the newest ones.
        """

    def standing(self, totals: Any) -> Standing:
        """Where the run is that has these counters; before its first round where there are no records."""
        return Standing(self._newest[-1] if self._newest else Amounts(0, 0, 0, 0.0), totals)

    @property
    def owes_evaluation(self) -> bool:
        """Whether the newest round is recorded without the evaluation that was due after it."""
        if len(self._newest) < 2:
            return False
        before, now = self._newest
        evaluated = self.last is not None and self.last["iteration"] == now.iterations
        return not evaluated and self.is_due(before, now)

    def is_due(self, before: Amounts, after: Amounts) -> bool:
        """Whether an evaluation is."""
        return passed(self.config.evaluation.every, before, after) or is_done(self.config, after)

    def problem(self, iteration: int, evaluation: dict[str, Any]) -> str | None:
        """One clause on an evaluation that cannot be right; None where it may be."""
        sound = math.isfinite(evaluation[self._headline])
        return None if sound else f"the {self._headline.removesuffix('_mean')} at iteration {iteration} is not finite"

    def evaluated(self, record: Record, evaluation: dict[str, Any]) -> Record:
        """The record with an evaluation, which is the newest from now on."""
        self.last = record | evaluation
        if record["iteration"] == 0:
            self.first = self.last
        return self.last

    def newest_record(self) -> Record:
        """The newest record on the disk."""
        return self._log.last()

    def append(self, records: list[Record]) -> None:
        """Writes records."""
        with self._writing():
            self._log.append(records)
        self._tell(records)

    def amend(self, record: Record) -> None:
        """Writes the newest record anew."""
        with self._writing():
            self._log.amend(record)
        self._tell([record])
