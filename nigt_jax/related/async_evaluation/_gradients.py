"""How a node's own gradient changes when it wakes up: by one sample of a table, or as a whole.

Node i of N has the gradient (N / M) sum_p F_p over its own of all M samples, so that the mean over nodes is the mean
over samples, however these are split.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.related.async_evaluation._problem import Samples, sample_field


class Data(NamedTuple):
    """What nodes know of the problem.

    Attributes:
      samples: of all nodes, one after the other.
      owner: whose each sample is, [samples].
      first: each node's first sample.
      counts: how many each node has, 1 or more.
      regularization: rho.
      dual_ratio: beta, the dual variable's step in steps of the parameters.
    """

    samples: Samples
    owner: Int[Any, " samples"]
    first: Int[Any, " nodes"]
    counts: Int[Any, " nodes"]
    regularization: Float[Any, ""]
    dual_ratio: Float[Any, ""]

    @property
    def scale(self) -> float:
        """N / M."""
        return self.counts.shape[0] / self.owner.shape[0]

    def field(self, z: Float[Array, " numbers"], samples: Samples | None = None) -> Float[Array, "chosen numbers"]:
        """F_p at `z` of some samples, or of all."""
        chosen = self.samples if samples is None else samples
        return sample_field(chosen, self.regularization, self.dual_ratio, z)

    def gradients(self, z: Float[Array, " numbers"]) -> Float[Array, "nodes numbers"]:
        """Every node's at the same `z`."""
        return self.scale * jax.ops.segment_sum(self.field(z), self.owner, self.counts.shape[0])


class LocalGradient(NamedTuple):
    """How nodes come by the changes of their gradients.

    Attributes:
      begin: from data and the z that all start at, what nodes keep beside their gradients.
      change: from data, what nodes keep, their gradients, a node and its new z, what they keep then, and what is added
        to the node's gradient. Nothing is kept of a node whose number to write at is that of no node.
    """

    begin: Callable[[Data, Array], Any]
    change: Callable[[Data, Any, Array, "Woken", Array], tuple[Any, Array]]


class Woken(NamedTuple):
    """Who wakes up.

    Attributes:
      node: its number, from 0.
      kept_as: the same, or the number of no node where nobody does, so that what is computed is kept nowhere.
    """

    node: Int[Array, ""]
    kept_as: Int[Array, ""]


class Table(NamedTuple):
    """What SAG keeps.

    Attributes:
      field: F_p of every sample, as it was when the sample was visited last; [samples, numbers].
      visits: how often each node has woken up; its samples take turns.
    """

    field: Float[Array, "samples numbers"]
    visits: Int[Array, " nodes"]


def _begin_table(data: Data, z: Float[Array, " numbers"]) -> Table:
    return Table(data.field(z), jnp.zeros(data.counts.shape, jnp.int32))


def _next_sample(
    data: Data, kept: Table, gradients: Float[Array, "nodes numbers"], woken: Woken, z: Float[Array, " numbers"]
) -> tuple[Table, Float[Array, " numbers"]]:
    """The table after the node's next sample is visited, and by how much the node's gradient changes."""
    del gradients
    node = woken.node
    place = data.first[node] + kept.visits[node] % data.counts[node]
    new = data.field(z, jax.tree.map(lambda x: x[place][None], data.samples))[0]
    row = jnp.where(woken.kept_as == node, place, data.owner.shape[0])
    field = kept.field.at[row].set(new, mode="drop")
    visits = kept.visits.at[woken.kept_as].add(1, mode="drop")
    return Table(field, visits), data.scale * (new - kept.field[place])


def _all_samples(
    data: Data, kept: tuple[()], gradients: Float[Array, "nodes numbers"], woken: Woken, z: Float[Array, " numbers"]
) -> tuple[tuple[()], Float[Array, " numbers"]]:
    return kept, data.gradients(z)[woken.node] - gradients[woken.node]


GRADIENTS = {
    "sag": LocalGradient(_begin_table, _next_sample),
    "full": LocalGradient(lambda data, z: (), _all_samples),
}
