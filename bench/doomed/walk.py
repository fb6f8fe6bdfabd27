"""A small environment whose every number depends on what is done: it compiles in seconds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class State(NamedTuple):
    """What Brax's interface asks for."""

    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Walk:
    """A point walks on a line and is to stay at 0; the reward is minus its squared distance."""

    observation_size = action_size = 1

    def reset(self, key: jax.Array) -> State:
        """Somewhere near 0.5."""
        return State(0.5 + 0.1 * jax.random.normal(key, (1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: State, action: jax.Array) -> State:
        """Moves by a part of the action."""
        obs = state.obs + 0.3 * action
        return State(obs, -jnp.square(obs[0]), state.done)
