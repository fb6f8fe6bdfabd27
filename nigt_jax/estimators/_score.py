"""Policy gradients as weighted sums of scores: what every estimator here has in common."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.rollout import Normalizer, Policy, Trajectories


class EstimatorSettings(NamedTuple):
    """What an estimator may be tuned by; traced, so that runs with other values share one program.

    Attributes:
      discount: of the objective, per step.
      gae_lambda: of generalised advantage estimation.
      critic_learning_rate: Adam step of the value baseline.
    """

    discount: Float[Array, ""]
    gae_lambda: Float[Array, ""]
    critic_learning_rate: Float[Array, ""]


class Estimator(NamedTuple):
    """One way to weigh the scores of a batch of episodes.

    Attributes:
      init: (key, observation size) to the estimator's own state, () where it has none.
      coefficients: (state, episodes, normalizer, settings, axis_name) to the factor A_t of each score. It may look at
        all episodes of the axis, but A_t may depend on the step's own action only through what follows it.
      learn: (state, episodes, normalizer, settings, axis_name) to the next state, for later rounds.
    """

    init: Callable[[PRNGKeyArray, int], Any]
    coefficients: Callable[..., Float[Array, "time lanes"]]
    learn: Callable[..., Any]


def policy_gradient_sum(
    policy: Policy,
    params: Any,
    normalizer: Normalizer,
    episodes: Trajectories,
    coefficients: Float[Array, "time lanes"],
) -> Any:
    r"""Sum over the episodes of :math:`\sum_t A_t \nabla \log \pi_\theta(u_t | s_t)`, a tree like `params`.

    The density is that of the stored sample u before tanh. Steps after an episode's end count nothing.
    """

    def surrogate(p: Any) -> Array:
        log_density = policy.log_density(p, normalizer, episodes.observation, episodes.pre_tanh)
        return jnp.sum(jnp.where(episodes.alive, coefficients * log_density, 0))

    return jax.grad(surrogate)(params)


def return_to_go(reward: Float[Array, "time lanes"], discount: Float[Array, ""]) -> Float[Array, "time lanes"]:
    r""":math:`G_t = \sum_{h \ge t} \gamma^{h-t} r_h`."""

    def back(following: Array, now: Array) -> tuple[Array, Array]:
        total = now + discount * following
        return total, total

    return jax.lax.scan(back, jnp.zeros_like(reward[0]), reward, reverse=True)[1]
