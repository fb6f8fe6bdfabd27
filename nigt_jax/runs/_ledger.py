"""The account of one run: its records on the disk, its evaluations, and whether its numbers make sense."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from nigt_jax.config import Config
from nigt_jax.methods import METHODS
from nigt_jax.records import MetricsLog, Record, RunFolder, read_metrics
from nigt_jax.runs._breakage import Breakage
from nigt_jax.runs._nonsense import first_nonsense
from nigt_jax.runs._standing import Amounts, Standing, is_done, passed
from nigt_jax.runs._totals import Totals, records_of
from nigt_jax.runs._writing import Writing
from nigt_jax.training import RoundMetrics


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


class Ledger:
    """Keeps the account of one run.

    Args:
      config: the run's resolved configuration.
      folder: its folder.
      iteration: rounds that its checkpoint has; what the folder has of later ones is dropped.
      writing: makes the context in which the folder is written.
      tell: called with records that are on the disk, for whoever else takes them.

    Attributes:
      config: the configuration.
      folder: the folder.
      first: evaluation of iteration 0; None where none was made.
      last: the newest evaluation, likewise.
      breakage: how many episodes broke the physics.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        iteration: int,
        writing: Writing,
        tell: Callable[[list[Record]], None] = lambda records: None,
    ):
        self.config, self.folder, self._writing, self._tell = config, folder, writing, tell
        with self._writing():
            self._log = MetricsLog(folder.metrics, iteration if iteration > 0 else -1)
        self.breakage = Breakage(config.environment.max_diverged)
        records = read_metrics(folder.metrics)
        evaluated = [record for record in records if "return_mean" in record]
        self.first: Record | None = evaluated[0] if evaluated else None
        self.last: Record | None = evaluated[-1] if evaluated else None
        self._newest = [Amounts.of(record) for record in records[-2:]]

    def standing(self, totals: Totals) -> Standing:
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

    def entry(self, standing: Standing, metrics: RoundMetrics, seconds: float, parameters: int) -> Entry:
        """What rounds add, as yet unwritten.

        Args:
          standing: before them.
          metrics: those of the rounds that the run made, on the host.
          seconds: that they took.
          parameters: number of the policy's parameters.
        """
        now = standing.amounts
        wrong, trouble = first_nonsense(metrics, self.config, now.iterations, now.simulated_time), None
        if wrong is not None:
            place, what = wrong
            trouble = Trouble(place, what, endless=not (metrics.complete[place] or metrics.too_large[place]))
            metrics = jax.tree.map(lambda m: m[:place], metrics)
        records, totals = records_of(metrics, now.iterations, standing.totals, seconds, self.config.method, parameters)
        after = Standing(Amounts.of(records[-1]), totals) if records else standing
        return Entry(records, after, trouble)

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

    def note_breakage(self, metrics: RoundMetrics) -> str | None:
        """Counts episodes that broke the physics; one clause where there are too many."""
        method = self.config.method
        episodes = int(metrics.gradients.sum()) * method.trajectories_per_gradient * METHODS[method.name].plays
        self.breakage.note(episodes, int(metrics.diverged.sum()))
        return self.breakage.in_words if self.breakage.too_much else None
