"""The server's side of a method: propose where to take gradients (ask), absorb them (tell).

The two are apart because the same method runs under a simulated clock, in lockstep on devices, and on a cluster.
"""

from typing import Any, NamedTuple

import chex
import jax
import optax
from jaxtyping import Array, Float

from nigt_jax.methods._method import Method
from nigt_jax.transforms import rennala_mean, tree_norm


class QueryPoint(NamedTuple):
    """Parameters at which gradients are taken. Never to be evaluated or shipped."""

    params: Any


class Iterate(NamedTuple):
    """Parameters that are the model: what is evaluated and shipped."""

    params: Any


class ServerState(NamedTuple):
    """Everything that the server knows.

    Attributes:
      sent: the parameters that workers are sent, the query point.
      opt_state: the update's state, from which the iterate follows.
    """

    sent: Any
    opt_state: optax.OptState


def start(method: Method, params: Any, hyperparameters: Any) -> ServerState:
    """The server before the first round: query point and iterate are both `params`."""
    return ServerState(params, method.update(hyperparameters).init(params))


def ask(state: ServerState) -> QueryPoint:
    """Where the next gradients are to be taken. A pure proposal: the state does not change."""
    return QueryPoint(state.sent)


@jax.named_scope("update")
def tell(
    method: Method,
    state: ServerState,
    hyperparameters: Any,
    total: Any,
    weight: Float[Array, ""],
    axis_name: Any,
    **beside: Any,
) -> tuple[ServerState, Float[Array, ""]]:
    """Absorbs what workers sent.

    Args:
      method: the method whose update applies.
      state: the server before.
      hyperparameters: those of this update.
      total: this shard's weighted sum of messages (ascent directions), a tree like the parameters.
      weight: the sum of the weights. Shards are devices, not workers: whose a message is shows in its weight alone.
      axis_name: the axis that the shards are on, or None.
      **beside: other weighted sums that the method's update needs, by name; it gets their means as they are.

    Returns:
      The server after, and the norm of the direction that it has absorbed.
    """
    chex.assert_trees_all_equal_shapes(total, state.sent)
    aggregate, update = rennala_mean(axis_name), method.update(hyperparameters)
    (mean, others), _ = aggregate.update((total, beside), aggregate.init(state.sent), count=weight)
    descent = jax.tree.map(lambda g: -g, mean)  # optax steps downhill on a loss, a policy climbs
    moves, opt_state = update.update(descent, state.opt_state, state.sent, **others)
    after = ServerState(optax.apply_updates(state.sent, moves), opt_state)
    return after, tree_norm(method.direction(opt_state, mean))


def iterate(method: Method, state: ServerState) -> Iterate:
    """The model."""
    return Iterate(method.model(state.opt_state, state.sent))
