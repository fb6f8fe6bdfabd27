r"""When Ringleader updates, and of which gradients: the state machine of its two tables.

There are n workers, a table of their gradients (CURRENT) and one for the round after (NEXT). An entry of a table is
what one worker has delivered since the table was begun. Whoever delivers is sent the newest query point at once, so
every worker computes all the time, and nobody is interrupted: who is computing when something happens goes on at the
point that it was sent.

**Phase 1, collecting.** Every gradient goes to CURRENT. The query point does not change, so a worker that has
delivered begins again at the same one and may deliver more to its entry. The gradient that completes the table, the
first of the last missing worker, begins phase 2, and is sent what comes of the first update in it: its worker waits
for nothing.

**Phase 2, n updates.** Each worker makes one of them. The first one is at once, by the worker that has completed the
table. After that, a gradient of worker i goes

* to i's entry of CURRENT if i has not made its update in this phase; the server updates upon it, and i has made its
  own;
* to i's entry of NEXT if i has; the server does not update, and i begins again at the newest point.

An update's gradient is the mean over workers of the mean of each entry of CURRENT. With the n-th update NEXT becomes
CURRENT, an empty table becomes NEXT, and phase 1 goes on. The worker that makes the n-th update is not in the new
table.

**Age.** An entry's oldest gradient was taken at the point that its worker was sent after its own update of the round
before, at the earliest. So no gradient in an update is older than 2n - 2 updates: from the first update of one phase
2 to the last of the next. In the first round it is n - 1.

As published, in the authors' code of Ringleader ASGD. Of a run with one worker every gradient makes an update.

References:
  Maranjyan & Richtárik, `Ringleader ASGD <https://arxiv.org/abs/2509.22860>`_, 2025
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks._arrival_rules import Fate


class Tables(NamedTuple):
    """What is known of both tables, but for the gradients in them.

    Attributes:
      absorbed: gradients so far, in all rounds.
      current: which of the two is CURRENT, 0 or 1; the other one is NEXT.
      counts: gradients in each entry; shape [2, workers].
      oldest: updates made when the worker of each entry was sent the query point of the first gradient in it; shape
        [2, workers]; it means nothing where there is none.
      owes: workers that have not made their update of phase 2; none in phase 1.
    """

    absorbed: Int[Array, ""]
    current: Int[Array, ""]
    counts: Int[Array, "2 workers"]
    oldest: Int[Array, "2 workers"]
    owes: Bool[Array, " workers"]


class Entry(NamedTuple):
    """Where a gradient goes.

    Attributes:
      table: 0 or 1.
      counts: gradients in that table's entries, with this one; shape [workers].
    """

    table: Int[Array, ""]
    counts: Int[Array, " workers"]


class Ringleader(NamedTuple):
    """Updates once for each worker whenever every worker has delivered; an :class:`ArrivalRule`."""

    def begin(self, workers: int) -> Tables:
        """Two empty tables, in phase 1."""
        zero, none = jnp.zeros([], jnp.int32), jnp.zeros((2, workers), jnp.int32)
        return Tables(zero, zero, none, none, jnp.zeros(workers, bool))

    def take(
        self, kept: Tables, worker: Int[Array, ""], sent_at: Int[Array, ""], updates: Int[Array, ""]
    ) -> tuple[Fate, Tables]:
        """What becomes of an arrival; see :meth:`ArrivalRule.take`."""
        collecting = ~kept.owes.any()
        table = jnp.where(collecting | kept.owes[worker], kept.current, 1 - kept.current)
        first = kept.counts[table, worker] == 0
        counts = kept.counts.at[table, worker].add(1)
        oldest = kept.oldest.at[table, worker].set(jnp.where(first, sent_at, kept.oldest[table, worker]))
        owes = kept.owes | (collecting & (counts[kept.current] > 0).all())
        makes_update = owes[worker]
        owes = owes.at[worker].set(False)
        over = makes_update & ~owes.any()
        fate = Fate(
            absorbed=jnp.ones([], bool),
            updates=makes_update,
            serial=kept.absorbed,
            delay=updates - jnp.where(makes_update, oldest[table].min(), sent_at),
            worth=_harmonic_mean(counts[table]),
            entry=Entry(table, counts[table]),
        )
        return fate, Tables(
            absorbed=kept.absorbed + 1,
            current=jnp.where(over, 1 - kept.current, kept.current),
            counts=counts.at[kept.current].set(jnp.where(over, 0, counts[kept.current])),
            oldest=oldest,
            owes=owes,
        )

    def waits_for(self, kept: Tables, silent: Bool[Array, " workers"]) -> Bool[Array, " workers"]:
        """For whom it waits in vain; see :meth:`ArrivalRule.waits_for`."""
        missing = silent & (kept.counts[kept.current] == 0)
        in_vain = kept.owes.any() & ~(kept.owes & ~silent).any()
        return jnp.where(kept.owes.any(), kept.owes & in_vain, missing)


def _harmonic_mean(counts: Int[Array, " workers"]) -> Array:
    """Of the counts; 0 where one of them is 0.

    The mean of a table has the variance of so many gradients times workers. The updates of a round share its gradients,
    so the share of each is so many.
    """
    inverses = 1 / jnp.maximum(counts, 1).astype(jnp.float32)
    return jnp.where((counts > 0).all(), counts.size / inverses.sum(), 0)
