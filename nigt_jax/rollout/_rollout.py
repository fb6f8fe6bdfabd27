"""Trajectories: every one a fresh draw from reset, cut at the horizon, and counting nothing after its end."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from nigt_jax.rollout._policy import Normalizer, Policy
from nigt_jax.rollout._variation import Variation, Varied


class Trajectories(NamedTuple):
    """Episodes side by side, time first. What lies after an episode's end is zero.

    Attributes:
      observation: as the environment gave it, before the action.
      pre_tanh: the sample u whose tanh was the action.
      reward: undiscounted.
      alive: whether the step was part of the episode.
      diverged: whether the episode ended because the physics gave a number that is not finite.
    """

    observation: Float[Array, "time lanes obs"]
    pre_tanh: Float[Array, "time lanes action"]
    reward: Float[Array, "time lanes"]
    alive: Bool[Array, "time lanes"]
    diverged: Bool[Array, " lanes"]

    def returns(self) -> Float[Array, " lanes"]:
        """Undiscounted return of each episode."""
        return self.reward.sum(0)

    def only(self, counted: Bool[Array, " lanes"]) -> "Trajectories":
        """The same without some of them: those are as if they had never begun."""
        return Trajectories(
            observation=jnp.where(counted[None, :, None], self.observation, 0),
            pre_tanh=jnp.where(counted[None, :, None], self.pre_tanh, 0),
            reward=jnp.where(counted[None, :], self.reward, 0),
            alive=self.alive & counted[None, :],
            diverged=self.diverged & counted,
        )

    def lengths(self) -> Int[Array, " lanes"]:
        """Steps of each episode."""
        return self.alive.sum(0, dtype=jnp.int32)


def rollout(
    environment: Any,
    policy: Policy,
    params: Any,
    normalizer: Normalizer,
    keys: Key[Array, " lanes"],
    active: Bool[Array, " lanes"],
    horizon: int,
    variation: Variation | None = None,
) -> Trajectories:
    """Runs one episode a lane, until all have ended.

    A step whose reward or next observation is not finite ends its episode and earns nothing: to the policy such a
    state is one that ends the episode, so the gradient stays that of a well-defined problem.

    Args:
      environment: a Brax environment (reset, step), without wrappers: they would reset to a cached state.
      policy: what acts.
      params: its parameters.
      normalizer: its observation statistics, the same for every step.
      keys: one a lane; an episode depends on its own key alone, whatever the lanes beside it do.
      active: lanes that are False have no episode.
      horizon: length at which an episode is cut, in environment steps.
      variation: how each lane's environment differs, leaves with a leading axis of lanes; None where none does.

    Returns:
      The episodes; `time` is the horizon.
    """
    act = jax.vmap(policy.sample, (None, None, 0, 0))
    sample = lambda obs, keys: act(params, normalizer, obs, keys)
    return _play(environment, sample, keys, active, horizon, variation)


def rollout_each(
    environment: Any,
    policy: Policy,
    params: Any,
    normalizer: Normalizer,
    keys: Key[Array, " lanes"],
    active: Bool[Array, " lanes"],
    horizon: int,
    variation: Variation | None = None,
) -> Trajectories:
    """The same with parameters and statistics of its own for every lane: their leaves have a leading axis of lanes."""
    act = jax.vmap(policy.sample)
    sample = lambda obs, keys: act(params, normalizer, obs, keys)
    return _play(environment, sample, keys, active, horizon, variation)


def _play(
    environment: Any,
    act: Callable[[Float[Array, "lanes obs"], Key[Array, " lanes"]], Float[Array, "lanes action"]],
    keys: Key[Array, " lanes"],
    active: Bool[Array, " lanes"],
    horizon: int,
    variation: Variation | None,
) -> Trajectories:
    """Episodes side by side; `act` gives each lane's sample before tanh."""
    reset_keys, action_keys = jax.vmap(lambda k: tuple(jax.random.split(k)))(keys)
    where = lambda v: environment if v is None else Varied(environment, v)
    start = jax.vmap(_permissive(lambda v, key: where(v).reset(key)))(variation, reset_keys)
    step = functools.partial(jax.vmap(_permissive(lambda v, s, a: where(v).step(s, a))), variation)

    def advance(carry: tuple) -> tuple:
        t, state, ended, record = carry
        observation = jnp.where(ended[:, None], 0, state.obs)
        pre_tanh = act(observation, jax.vmap(jax.random.fold_in, (0, None))(action_keys, t))
        after = step(state, jnp.tanh(pre_tanh))
        finite = jnp.isfinite(after.reward) & jnp.all(jnp.isfinite(after.obs), axis=-1)
        alive = ~ended
        record = Trajectories(
            observation=record.observation.at[t].set(observation),
            pre_tanh=record.pre_tanh.at[t].set(jnp.where(ended[:, None], 0, pre_tanh)),
            reward=record.reward.at[t].set(jnp.where(alive & finite, after.reward, 0)),
            alive=record.alive.at[t].set(alive),
            diverged=record.diverged | (alive & ~finite),
        )
        return t + 1, after, ended | (after.done > 0) | ~finite, record

    lanes, observation_size = start.obs.shape
    empty = Trajectories(
        observation=jnp.zeros((horizon, lanes, observation_size)),
        pre_tanh=jnp.zeros((horizon, lanes, environment.action_size)),
        reward=jnp.zeros((horizon, lanes)),
        alive=jnp.zeros((horizon, lanes), bool),
        diverged=jnp.zeros((lanes,), bool),
    )
    carry = (jnp.zeros([], jnp.int32), start, ~active, empty)
    return jax.lax.while_loop(lambda c: (c[0] < horizon) & ~jnp.all(c[2]), advance, carry)[3]


def _permissive(function: Any) -> Any:
    """An environment's own code is not held to strict promotion of ranks and dtypes; ours around it still is."""

    def call(*args: Any) -> Any:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args)

    return call
