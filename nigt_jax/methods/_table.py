"""What an update is made of where gradients arrive one at a time: of that one, or of a table of workers' means."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks import Entry


class JustArrived(NamedTuple):
    """An update is made of the gradient that makes it; nothing is kept."""

    def begin(self, params: Any, workers: int) -> tuple[()]:
        """No table."""
        del params, workers
        return ()

    def put(
        self, table: tuple[()], entry: tuple[()], worker: Int[Array, ""], gradient: Any, absorbed: Bool[Array, ""]
    ) -> tuple[tuple[()], Any]:
        """The gradient itself."""
        del entry, worker, absorbed
        return table, gradient


class MeansOfWorkers(NamedTuple):
    """An update is made of the mean over workers of the mean of what each has in the table of a :class:`Ringleader`.

    Kept are sums of gradients. A table is emptied by its counts alone: the first gradient of an entry takes the place
    of the sum that was there.
    """

    def begin(self, params: Any, workers: int) -> Any:
        """Two tables, leaves [2, workers, ...]."""
        return jax.tree.map(lambda x: jnp.zeros((2, workers, *x.shape), x.dtype), params)

    def put(
        self, table: Any, entry: Entry, worker: Int[Array, ""], gradient: Any, absorbed: Bool[Array, ""]
    ) -> tuple[Any, Any]:
        """The tables with one gradient more, and the mean of the one that it is in.

        Args:
          table: the sums before.
          entry: where the gradient goes.
          worker: whose it is.
          gradient: a tree like the parameters.
          absorbed: whether there is one; otherwise the tables stay as they are.

        Returns:
          The sums after, and the mean of means, like the parameters; it means nothing until every worker is in it.
        """
        first = entry.counts[worker] == 1
        weights = 1 / (entry.counts.size * jnp.maximum(entry.counts, 1).astype(jnp.float32))

        def added(sums: Array, own: Array) -> Array:
            before = sums[entry.table, worker]
            after = jnp.where(first, own, before + own)
            return sums.at[entry.table, worker].set(jnp.where(absorbed, after, before))

        def mean(sums: Array) -> Array:
            return jnp.tensordot(weights.astype(sums.dtype), sums[entry.table], 1, precision=jax.lax.Precision.HIGHEST)

        table = jax.tree.map(added, table, gradient)
        return table, jax.tree.map(mean, table)
