"""The driver's account of a round: what every worker has reported, and whether that is enough."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from nigt_jax.runtimes.cluster._messages import Report

Counts = Int[np.ndarray, " workers"]


class Tally:
    """Counts units of a round as their reports come in: those of the order that a worker has, in their order, once.

    Args:
      workers: number of workers.
      enough: maps counts to whether the round is over.

    Attributes:
      counts: units counted of each worker.
      order: number of the order whose units count, of each worker; -1 for one that has none.
      over: whether there are enough. What is reported from then on is discarded.
      discarded: units that were reported too late, or belong to what was lost.
    """

    def __init__(self, workers: int, enough: Callable[[Counts], bool]):
        self._enough = enough
        self.counts: Counts = np.zeros(workers, np.int32)
        self.order: Int[np.ndarray, " workers"] = np.full(workers, -1)
        self.over = False
        self.discarded = 0

    def expect(self, worker: int, order: int) -> None:
        """A worker was given an order. What it has had before, in this round, does not count any more."""
        self.order[worker] = order
        self.discarded += int(self.counts[worker])
        self.counts[worker] = 0
        self.over = self._enough(self.counts)

    def note(self, report: Report) -> bool:
        """Counts a unit if it is to be counted, and says so."""
        worker = report.worker
        if report.order != self.order[worker]:
            return False
        if self.over or report.sequence != self.counts[worker]:
            self.discarded += 1
            return False
        self.counts[worker] += 1
        self.over = self._enough(self.counts)
        return True
