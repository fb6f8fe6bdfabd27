"""Agents whose rewards depend on their neighbours and whose states move by themselves, and episodes of theirs."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Model(NamedTuple):
    """What happens among n agents.

    Attributes:
      neighbours: [i, k]: whether k is in N(i), which holds i itself. Symmetric.
      actions: how many actions each agent has; they have the lowest numbers.
      first: probabilities of every agent's first state.
      kernel: [i, s, a, s']: probability that agent i goes on to state s'.
      reward: every agent's expected reward in joint states and actions, of which the one of agent i depends on N(i).
      draw: rewards of these expectations, by chances from [0, 1).
    """

    neighbours: Bool[np.ndarray, "agents agents"]
    actions: Int[np.ndarray, " agents"]
    first: Float[np.ndarray, "agents states"]
    kernel: Float[np.ndarray, "agents states actions states"]
    reward: Callable[[Int[Array, " agents"], Int[Array, " agents"]], Float[Array, " agents"]]
    draw: Callable[[Float[Array, " agents"], Float[Array, " agents"]], Float[Array, " agents"]]

    @property
    def agents(self) -> int:
        """How many there are."""
        return len(self.neighbours)

    @property
    def allowed(self) -> Bool[np.ndarray, "agents actions"]:
        """Which actions every agent has."""
        return np.arange(self.kernel.shape[2]) < self.actions[:, None]


class Episodes(NamedTuple):
    """Episodes of T steps, and the state and action after them.

    Attributes:
      states: of every agent.
      actions: of every agent.
      rewards: of the T steps.
    """

    states: Int[Array, "episodes steps_and_one agents"]
    actions: Int[Array, "episodes steps_and_one agents"]
    rewards: Float[Array, "episodes steps agents"]


def softmax_policies(
    logits: Float[Array, "agents states actions"], allowed: Bool[np.ndarray, "agents actions"]
) -> Float[Array, "agents states actions"]:
    """Probabilities of actions, 0 where an agent does not have them."""
    return jax.nn.softmax(jnp.where(allowed[:, None, :], logits, -jnp.inf), axis=-1)


def choose(chances: Float[Array, "*rows"], probabilities: Float[Array, "*rows kinds"]) -> Int[Array, "*rows"]:
    """One of the kinds for every row; never one of probability 0.

    Args:
      chances: from [0, 1), at random.
      probabilities: of the kinds.
    """
    up_to = jnp.cumsum(probabilities, axis=-1)
    return jnp.argmax(up_to > chances[..., None] * up_to[..., -1:], axis=-1).astype(jnp.int32)


def play(
    model: Model, key: PRNGKeyArray, policies: Float[Array, "agents states actions"], episodes: int, horizon: int
) -> Episodes:
    """Episodes in which all agents follow their policies.

    Args:
      model: what happens.
      key: of everything random.
      policies: probabilities of actions.
      episodes: how many.
      horizon: their number of steps T.
    """
    who, kernel = np.arange(model.agents), jnp.asarray(model.kernel)

    def step(likely: Array, chances: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        states = choose(chances[0], likely)
        actions = choose(chances[1], policies[who, states])
        rewards = model.draw(chances[2], model.reward(states, actions))
        return kernel[who, states, actions], (states, actions, rewards)

    chances = jax.random.uniform(key, (episodes, horizon + 1, 3, model.agents))
    first = jnp.asarray(model.first)
    states, actions, rewards = jax.vmap(lambda own: jax.lax.scan(step, first, own)[1])(chances)
    return Episodes(states, actions, rewards[:, :-1])
