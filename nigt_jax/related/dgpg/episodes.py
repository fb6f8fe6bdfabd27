"""Episodes of a cluster, whoever decides where tasks go."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from nigt_jax.related.dgpg.cloud import Cloud, CloudState, Outcome

Act: TypeAlias = Callable[[CloudState, PRNGKeyArray], tuple[Int[Array, " agents"], Any]]
"""Every agent's server, and a tree of what else is to be kept of the decision."""


class Steps(NamedTuple):
    """Steps of an episode; leaves have a leading axis of time.

    Attributes:
      state: the cluster before the actions.
      action: every agent's server.
      kept: what the decision left.
      outcome: of the actions.
    """

    state: CloudState
    action: Int[Array, "*batch agents"]
    kept: Any
    outcome: Outcome


def play(cloud: Cloud, act: Act, key: PRNGKeyArray) -> Steps:
    """A whole episode. Its tasks depend on the key alone, not on who acts."""
    of_tasks, of_actions = jax.random.split(key)

    def one(state: CloudState, _: None) -> tuple[CloudState, Steps]:
        action, kept = act(state, jax.random.fold_in(of_actions, state.time))
        following, outcome = cloud.step(state, action, of_tasks)
        return following, Steps(state, action, kept, outcome)

    return jax.lax.scan(one, cloud.begin(of_tasks), None, cloud.settings.steps)[1]


def returns(cloud: Cloud, act: Act, keys: Key[Array, " episodes"]) -> Float[Array, " episodes"]:
    """The negative cost of whole episodes, one for each key."""
    return jax.vmap(lambda key: -jnp.sum(play(cloud, act, key).outcome.cost))(keys)
