"""Environments of gymnax, whose interface is another one: keys and parameters, and states without an observation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.environments._check import permissive
from nigt_jax.imports import imported, quiet


class GymnaxState(NamedTuple):
    """A state.

    Attributes:
      inner: gymnax's own.
      key: of the steps to come.
      obs: what the policy sees, flat.
      reward: of the last step.
      done: 1 where the episode has ended, or gymnax has cut it.
    """

    inner: Any
    key: PRNGKeyArray
    obs: Float[Array, " obs"]
    reward: Float[Array, ""]
    done: Float[Array, ""]


class Gymnax:
    """An environment of gymnax with its default parameters.

    It has ``num_actions`` where gymnax's actions are discrete. Otherwise it has ``action_size``, and the range of each
    number of an action is stretched from [-1, 1] to gymnax's own.
    """

    def __init__(self, environment: Any, params: Any):
        self._environment, self._params = environment, params
        space = environment.action_space(params)
        if hasattr(space, "n"):
            self.num_actions = int(space.n)
        else:
            (self.action_size,) = space.shape
            low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
            self._middle, self._half = (high + low) / 2, (high - low) / 2

    def reset(self, key: PRNGKeyArray) -> GymnaxState:
        """A fresh start."""
        key, own = jax.random.split(key)
        seen, inner = self._environment.reset_env(own, self._params)
        return self._state(inner, key, seen, 0, False)

    def step(self, state: GymnaxState, action: Array) -> GymnaxState:
        """One step. An episode that has ended does not begin again: lanes do that, with a fresh start."""
        key, own = jax.random.split(state.key)
        taken = action if hasattr(self, "num_actions") else self._middle + self._half * action
        seen, inner, reward, ended, _ = self._environment.step_env(own, state.inner, taken, self._params)
        cut = self._environment.is_truncated(inner, self._params)
        return self._state(inner, key, seen, reward, jnp.logical_or(ended, cut))

    def _state(self, inner: Any, key: Any, seen: Any, reward: Any, done: Any) -> GymnaxState:
        inner = jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), inner)  # a number of Python has no dtype
        flat = jnp.ravel(jnp.asarray(seen)).astype(jnp.float32)
        reward, done = (jnp.asarray(x).reshape(()).astype(jnp.float32) for x in (reward, done))
        return GymnaxState(inner, key, flat, reward, done)


def make_gymnax_environment(name: str) -> Gymnax:
    """The environment `name`. UserError where gymnax cannot be imported."""
    with imported("gymnax", "gymnax", f"environment.name: {name}"):
        import gymnax
    with quiet():
        return permissive(lambda: Gymnax(*gymnax.make(name)))()
