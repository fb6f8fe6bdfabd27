"""The account of one training run: what rounds add to it, and whether their numbers make sense."""

from collections.abc import Callable

import jax

from nigt_jax.config import Config
from nigt_jax.records import Record, RunFolder
from nigt_jax.runs._account import Account, Entry, Trouble
from nigt_jax.runs._breakage import Breakage
from nigt_jax.runs._nonsense import first_nonsense
from nigt_jax.runs._standing import Amounts, Standing
from nigt_jax.runs._totals import Totals, records_of
from nigt_jax.runs._writing import Writing
from nigt_jax.training import RoundMetrics


class Ledger(Account):
    """Keeps the account of one training run; see :class:`Account`.

    Args:
      config: the run's resolved configuration.
      folder: its folder.
      iteration: rounds that its checkpoint has; what the folder has of later ones is dropped.
      writing: makes the context in which the folder is written.
      tell: called with records that are on the disk, for whoever else takes them.

    Attributes:
      breakage: how many episodes broke the physics.
    """

    config: Config

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        iteration: int,
        writing: Writing,
        tell: Callable[[list[Record]], None] = lambda records: None,
    ):
        super().__init__(config, folder, iteration, writing, "return_mean", tell)
        self.breakage = Breakage(config.environment.max_diverged, config.environment.name)

    def untrained(self) -> Record:
        """The record of iteration 0, without an evaluation."""
        return {"iteration": 0, **Totals().counters(), "simulated_time": 0.0, "wall_time": 0.0}

    def entry(self, standing: Standing, metrics: RoundMetrics, seconds: float, parameters: int) -> Entry:
        """What rounds add, as yet unwritten; see :class:`Account`."""
        now = standing.amounts
        wrong, trouble = first_nonsense(metrics, self.config, now.iterations, now.simulated_time), None
        if wrong is not None:
            place, what = wrong
            trouble = Trouble(place, what, endless=not (metrics.complete[place] or metrics.too_large[place]))
            metrics = jax.tree.map(lambda m: m[:place], metrics)
        records, totals = records_of(metrics, now.iterations, standing.totals, seconds, self.config.method, parameters)
        after = Standing(Amounts.of(records[-1]), totals) if records else standing
        return Entry(records, after, trouble)

    def note_breakage(self, iteration: int, metrics: RoundMetrics) -> str | None:
        """Counts episodes that broke the physics; one clause where there are too many."""
        self.breakage.note(int(metrics.episodes.sum()), int(metrics.diverged.sum()))
        return f"iteration {iteration}: {self.breakage.in_words}" if self.breakage.too_much else None
