"""A learned value baseline with generalised advantage estimation."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.estimators._score import Estimator, EstimatorSettings, return_to_go
from nigt_jax.rollout import Normalizer, Policy, Trajectories


class CriticState(NamedTuple):
    """The value baseline.

    Attributes:
      params: of the critic.
      opt_state: of Adam.
      scale: unit in which the critic counts returns: their root mean square when it first saw some, 0 before.
    """

    params: Any
    opt_state: optax.OptState
    scale: Float[Array, ""]


class Critic(nn.Module):
    """Value of an observation at a time of the episode; zero everywhere before it has learnt."""

    @nn.compact
    def __call__(self, observation: Float[Array, "*batch obs"], time: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """The value; `time` is the fraction of the horizon that has passed, which bounds what can still be earned."""
        hidden = jnp.concatenate([observation, time[..., None]], -1)
        for _ in range(2):
            hidden = jnp.tanh(nn.Dense(64)(hidden))
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(hidden)[..., 0]


def gae(policy: Policy, steps: int) -> Estimator:
    r"""Generalised advantages over a value function learnt from earlier rounds.

    .. math::
        \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t), \qquad A_t = \sum_{l \ge 0} (\gamma\lambda)^l \delta_{t+l}

    with V = 0 after the end of the episode and after the horizon, where nothing more is earned. For
    :math:`\lambda = 1` this is the return to go less a baseline that has seen none of the round's actions: the
    expectation of ``return_to_go``. For :math:`\lambda < 1` it is biased by as much as V is wrong.

    Args:
      policy: whose observation statistics the critic shares.
      steps: Adam steps on the squared error to the discounted return, a round.

    References:
      Schulman et al., `High-Dimensional Continuous Control Using Generalized Advantage Estimation
      <https://arxiv.org/abs/1506.02438>`_, 2016
    """
    critic = Critic()
    adam = optax.scale_by_adam()

    def init(key: PRNGKeyArray, observation_size: int) -> CriticState:
        params = critic.init(key, jnp.zeros((1, observation_size)), jnp.zeros((1,)))
        return CriticState(params, adam.init(params), jnp.zeros([]))

    def values(params: Any, episodes: Trajectories, normalizer: Normalizer) -> Float[Array, "time lanes"]:
        horizon, lanes = episodes.reward.shape
        time = jnp.broadcast_to(jnp.arange(horizon, dtype=jnp.float32)[:, None] / horizon, (horizon, lanes))
        value = critic.apply(params, policy.standardise(normalizer, episodes.observation), time)
        return jnp.where(episodes.alive, value, 0)

    def coefficients(
        state: CriticState, episodes: Trajectories, normalizer: Normalizer, settings: EstimatorSettings, axis_name: Any
    ) -> Float[Array, "time lanes"]:
        del axis_name
        value = state.scale * values(state.params, episodes, normalizer)
        following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
        delta = episodes.reward + settings.discount * following - value
        return return_to_go(delta, settings.discount * settings.gae_lambda)

    def learn(
        state: CriticState, episodes: Trajectories, normalizer: Normalizer, settings: EstimatorSettings, axis_name: Any
    ) -> CriticState:
        target = return_to_go(episodes.reward, settings.discount)
        alive = episodes.alive.astype(jnp.float32)
        across = lambda tree: tree if axis_name is None else jax.lax.psum(tree, axis_name)
        squares, steps_seen = across((jnp.sum(alive * jnp.square(target)), alive.sum()))
        count = jnp.maximum(steps_seen, 1)
        unit = jnp.where(state.scale > 0, state.scale, jnp.sqrt(squares / count))
        scaled = target / jnp.where(unit > 0, unit, 1)

        def loss_sum(params: Any) -> Array:
            return jnp.sum(alive * jnp.square(values(params, episodes, normalizer) - scaled))

        def step(_: Array, carry: tuple) -> tuple:
            params, opt_state = carry
            mean = jax.tree.map(lambda g: g / count, across(jax.grad(loss_sum)(params)))
            with jax.numpy_dtype_promotion("standard"):  # Adam's own code mixes integers and floats
                updates, opt_state = adam.update(mean, opt_state)
            moves = jax.tree.map(lambda u: -settings.critic_learning_rate * u, updates)
            return optax.apply_updates(params, moves), opt_state

        params, opt_state = jax.lax.fori_loop(0, steps, step, (state.params, state.opt_state))
        return CriticState(params, opt_state, unit)

    return Estimator(init, coefficients, learn)
