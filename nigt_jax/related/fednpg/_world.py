"""A world that all agents share, with rewards of their own; and exact values in it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class World(NamedTuple):
    """A Markov decision process with a reward for every agent.

    Attributes:
      transitions: probability of the next state, [states, actions, states].
      rewards: of each agent, [agents, states, actions].
      start: probability of the first state, [states].
      discount: of rewards, a step.
    """

    transitions: Float[Array, "states actions states"]
    rewards: Float[Array, "agents states actions"]
    start: Float[Array, " states"]
    discount: Float[Array, ""]


def grid_world(side: int, agents: int, discount: float, seed: int) -> World:
    """A square of cells in which one goes right or down; see :func:`path_through`.

    The path's cells but the first are dealt out in equal pieces, the first agents' at its beginning. An agent has a
    reward of 1 where an action leads to a cell of its piece, and 0 elsewhere; a move off the square stays where it is,
    for nothing.
    """
    states = side * side
    row, column = np.divmod(np.arange(states), side)
    to = np.stack([np.where(column < side - 1, np.arange(states) + 1, np.arange(states))] * 2, axis=1)
    to[:, 1] = np.where(row < side - 1, np.arange(states) + side, np.arange(states))
    path = path_through(side, seed)[1:]
    owner = np.full(states, -1)
    for agent, piece in enumerate(np.array_split(path, agents)):
        owner[piece] = agent
    moves = to != np.arange(states)[:, None]
    rewards = np.stack([(owner[to] == agent) & moves for agent in range(agents)]).astype(float)
    return World(
        jnp.asarray(np.eye(states)[to]), jnp.asarray(rewards), jnp.asarray(np.eye(states)[0]), jnp.asarray(discount)
    )


def path_through(side: int, seed: int) -> np.ndarray:
    """The cells of a random path from the top left to the bottom right, in order; [2 * side - 1]."""
    right = np.random.default_rng(seed).permutation([True, False] * (side - 1))
    return np.concatenate([[0], np.cumsum(np.where(right, 1, side))])


def state_values(
    world: World, reward: Float[Array, "states actions"], log_policy: Float[Array, "states actions"], entropy: Array
) -> Float[Array, " states"]:
    """Values of a policy, with the entropy's reward: the solution of the Bellman equation."""
    policy = jnp.exp(log_policy)
    earned = (policy * (reward - entropy * log_policy)).sum(1)
    moves = jnp.einsum("sa,sat->st", policy, world.transitions, precision="highest")
    return jnp.linalg.solve(jnp.eye(len(earned), dtype=moves.dtype) - world.discount * moves, earned)


def action_values(
    world: World, reward: Float[Array, "states actions"], log_policy: Float[Array, "states actions"], entropy: Array
) -> Float[Array, "states actions"]:
    """Values of actions in every state, without the entropy of that action itself."""
    following = state_values(world, reward, log_policy, entropy)
    return reward + world.discount * jnp.einsum("sat,t->sa", world.transitions, following, precision="highest")


def visits(world: World, log_policy: Float[Array, "states actions"]) -> Float[Array, " states"]:
    """How often a policy is in each state, discounted; sums to 1."""
    moves = jnp.einsum("sa,sat->ts", jnp.exp(log_policy), world.transitions, precision="highest")
    often = jnp.linalg.solve(jnp.eye(len(moves), dtype=moves.dtype) - world.discount * moves, world.start)
    return (1 - world.discount) * often


def optimum(world: World, entropy: float) -> float:
    """The largest value that a policy has from the start with the mean of all rewards; by policy iteration."""
    reward = world.rewards.mean(0)
    log_policy = jnp.full(reward.shape, -jnp.log(jnp.asarray(reward.shape[1], reward.dtype)))
    weight = jnp.asarray(entropy, reward.dtype)

    def better(log_policy: Array) -> Array:
        values = action_values(world, reward, log_policy, weight)
        if entropy > 0:
            return jax.nn.log_softmax(values / entropy, axis=1)
        return jnp.log(jax.nn.one_hot(values.argmax(1), values.shape[1], dtype=values.dtype) + 1e-300)

    step, value = jax.jit(better), -np.inf
    while True:
        log_policy = step(log_policy)
        newer = float(world.start @ state_values(world, reward, log_policy, weight))
        if newer <= value + 1e-13 * abs(newer):
            return newer
        value = newer
