"""A learned value baseline with generalised advantage estimation."""

import dataclasses
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.collectives import sum_over
from nigt_jax.config import EstimatorConfig, Gae
from nigt_jax.discounting import return_to_go
from nigt_jax.estimators._score import Estimator, of_episodes
from nigt_jax.policies import Normalizer, Policy
from nigt_jax.rollout import Steps, Trajectories

_ADAM = optax.scale_by_adam()


class GaeHyperparameters(NamedTuple):
    """Hyperparameters of the estimator, for each group; traced.

    Attributes:
      discount: discount factor of the objective, per step.
      gae_lambda: lambda of generalised advantage estimation.
      critic_learning_rate: Adam step of the value baseline.
    """

    discount: Float[Array, "*groups"]
    gae_lambda: Float[Array, "*groups"]
    critic_learning_rate: Float[Array, "*groups"]


def _hyperparameters(section: EstimatorConfig) -> GaeHyperparameters:
    own = cast(Gae, section)
    numbers = own.discount, own.gae_lambda, own.critic_learning_rate
    return GaeHyperparameters(*(jnp.asarray(x, jnp.float32) for x in numbers))


class CriticState(NamedTuple):
    """The value baseline.

    Attributes:
      params: parameters of the critic.
      opt_state: state of Adam.
      scale: unit in which the critic counts returns: their root mean square when it first saw some, 0 before.
    """

    params: Any
    opt_state: optax.OptState
    scale: Float[Array, "*groups"]


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
      policy: the policy, whose observation statistics the critic shares.
      steps: Adam steps on the squared error to the discounted return, for each block of episodes computed together,
        which is a round unless memory, or a larger round than usual, divides it.

    References:
      Schulman et al., `High-Dimensional Continuous Control Using Generalized Advantage Estimation
      <https://arxiv.org/abs/1506.02438>`_, 2016
    """
    critic = _Baseline(policy, steps)
    return Estimator(critic.init, critic.coefficients, critic.learn, _hyperparameters)


@dataclasses.dataclass(frozen=True)
class _Baseline:
    """The three functions of the estimator; all but `init` for groups, each with a critic of its own."""

    policy: Policy
    steps: int

    def init(self, key: PRNGKeyArray, observation_size: int) -> CriticState:
        params = Critic().init(key, jnp.zeros((1, observation_size)), jnp.zeros((1,)))
        return CriticState(params, _ADAM.init(params), jnp.zeros([]))

    def coefficients(
        self,
        state: CriticState,
        trajectories: Trajectories,
        normalizer: Normalizer,
        hyperparameters: GaeHyperparameters,
        axis_name: Any,
    ) -> Float[Array, "time episodes"]:
        del axis_name
        values = self._values(state, trajectories, normalizer)
        following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
        discount, decay = (of_episodes(trajectories, x) for x in (hyperparameters.discount, hyperparameters.gae_lambda))
        delta = trajectories.rewards(hyperparameters.discount) + discount[None, :] * following - values
        return return_to_go(delta, discount * decay)

    def learn(
        self,
        state: CriticState,
        trajectories: Trajectories,
        normalizer: Normalizer,
        hyperparameters: GaeHyperparameters,
        axis_name: Any,
    ) -> CriticState:
        discount = of_episodes(trajectories, hyperparameters.discount)
        target = return_to_go(trajectories.rewards(hyperparameters.discount), discount)

        def group_sums(x: Array) -> Array:
            return x.reshape(trajectories.groups, -1).sum(1)

        squares = group_sums(jnp.where(trajectories.alive(), jnp.square(target), 0).sum(0))
        squares, seen = sum_over(axis_name, (squares, group_sums(trajectories.lengths.astype(jnp.float32))))
        count = jnp.maximum(seen, 1)
        unit = jnp.where(state.scale > 0, state.scale, jnp.sqrt(squares / count))
        scaled = target / of_episodes(trajectories, jnp.where(unit > 0, unit, 1))[None, :]

        def step(_: Array, carry: tuple) -> tuple:
            params, opt_state = carry
            total = sum_over(axis_name, self._errors_gradient(params, trajectories, normalizer, scaled))
            return jax.vmap(_descend)(params, opt_state, total, count, hyperparameters.critic_learning_rate)

        def if_any(new: Array, old: Array) -> Array:
            """Adam would move on without a gradient, too."""
            return jnp.where((seen > 0).reshape(-1, *[1] * (new.ndim - 1)), new, old)

        params, opt_state = jax.lax.fori_loop(0, self.steps, step, (state.params, state.opt_state))
        return jax.tree.map(if_any, CriticState(params, opt_state, unit), state)

    def _value(self, params: Any, statistics: Normalizer, horizon: int, steps: Steps) -> Float[Array, " steps"]:
        time = steps.time.astype(jnp.float32) / horizon
        return Critic().apply(params, self.policy.standardise(statistics, steps.observation), time)

    def _values(
        self, state: CriticState, trajectories: Trajectories, normalizer: Normalizer
    ) -> Float[Array, "time episodes"]:
        """The value of what every step began with; zero where there is no such step."""
        horizon, groups = trajectories.horizon, trajectories.groups
        each = trajectories.lengths.size // groups

        def note(group: Array, values: Array, steps: Steps) -> Array:
            own, statistics = jax.tree.map(lambda x: x[group], (state, normalizer))
            found = own.scale * self._value(own.params, statistics, horizon, steps)
            episode = jnp.where(steps.valid, steps.episode - group * each, each)
            return values.at[steps.time, episode].set(found, mode="drop")

        values = trajectories.fold(note, jnp.zeros((groups, horizon, each)))
        return jnp.moveaxis(values, 0, 1).reshape(horizon, groups * each)

    def _errors_gradient(
        self, params: Any, trajectories: Trajectories, normalizer: Normalizer, target: Float[Array, "time episodes"]
    ) -> Any:
        """The gradient of this device's summed squared errors, like the parameters."""

        def add(group: Array, total: Any, steps: Steps) -> Any:
            own, statistics = jax.tree.map(lambda x: x[group], (params, normalizer))

            def loss(p: Any) -> Array:
                value = self._value(p, statistics, trajectories.horizon, steps)
                return jnp.sum(jnp.where(steps.valid, jnp.square(value - target[steps.time, steps.episode]), 0))

            return jax.tree.map(jnp.add, total, jax.grad(loss)(own))

        return trajectories.fold(add, jax.tree.map(jnp.zeros_like, params))


def _descend(params: Any, opt_state: Any, total: Any, count: Array, learning_rate: Array) -> tuple[Any, Any]:
    """A step down the mean of so many gradients."""
    mean = jax.tree.map(lambda g: g / count, total)
    with jax.numpy_dtype_promotion("standard"):  # Adam's own code mixes integers and floats
        updates, opt_state = _ADAM.update(mean, opt_state)
    moves = jax.tree.map(lambda u: -learning_rate * u, updates)
    return optax.apply_updates(params, moves), opt_state
