"""What policies are worth, without sampling: agents that follow policies of their own states are independent."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.related.rec_marl.model import Model
from nigt_jax.related.rec_marl.tables import Tables


def mean_rewards(
    model: Model,
    tables: Tables,
    rewards: list[Float[Array, "..."]],
    policies: Float[Array, "agents states actions"],
    horizon: int,
) -> Float[Array, " horizon"]:
    r"""The agents' mean expected reward in every step of an episode.

    At every time the joint distribution is the product of the agents' own ones, so that the expectation of
    :math:`r_i` is a sum over the table of N(i).

    Args:
      model: what happens.
      tables: the layout of its tables.
      rewards: expected rewards, tables with an axis for each member of a neighbourhood.
      policies: probabilities of actions.
      horizon: number of steps.
    """

    def step(states: Array, _: None) -> tuple[Array, Array]:
        doing = states[:, :, None] * policies
        return jnp.einsum("isa,isat->it", doing, jnp.asarray(model.kernel)), doing

    _, doing = jax.lax.scan(step, jnp.asarray(model.first), None, length=horizon)
    own = [doing[:, k, :, : model.actions[k]].reshape(horizon, -1) for k in range(model.agents)]

    def expected(agent: int) -> Float[Array, " horizon"]:
        *others, last = tables.members(agent)
        left = jnp.einsum("...z,tz->t...", rewards[agent], own[last])
        for k in reversed(others):
            left = jnp.einsum("t...z,tz->t...", left, own[k])
        return left

    return sum(map(expected, range(model.agents)), jnp.zeros(horizon)) / model.agents


def discounted(rewards: Float[Array, " horizon"], discount: float) -> Float[Array, ""]:
    """Their sum, each weighed by the discount to the power of its step, from 0."""
    return jnp.sum(discount ** jnp.arange(rewards.size, dtype=rewards.dtype) * rewards)
