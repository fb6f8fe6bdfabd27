"""What PPO computes: advantages, what they are standardised by, and the clipped objective."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.discounting import return_to_go
from nigt_jax.policies import Categorical

_TINY = 1e-8
_MEMORY = 0.9  # weight of earlier updates in the statistics of returns, per update


class ReturnStatistics(NamedTuple):
    """Moving mean and square of returns, by which values are standardised; weights of a moving mean begin at zero.

    Attributes:
      weight: the sum of all weights so far.
      mean: the weighted sum of the updates' means.
      square: the weighted sum of the updates' mean squares.
    """

    weight: Float[Array, ""]
    mean: Float[Array, ""]
    square: Float[Array, ""]

    def centre(self) -> Float[Array, ""]:
        """The mean; 0 before there are any returns."""
        return self.mean / jnp.maximum(self.weight, _TINY)

    def unit(self) -> Float[Array, ""]:
        """The deviation; 1 before there are any returns."""
        variance = self.square / jnp.maximum(self.weight, _TINY) - jnp.square(self.centre())
        return jnp.where(self.weight > 0, jnp.sqrt(jnp.maximum(variance, _TINY)), 1)


def begin_statistics() -> ReturnStatistics:
    """Those of no returns."""
    return ReturnStatistics(*(jnp.zeros([]) for _ in ReturnStatistics._fields))


def with_returns(statistics: ReturnStatistics, returns: Float[Array, "..."]) -> ReturnStatistics:
    """The statistics after an update with these returns."""
    new = jnp.ones([]), jnp.mean(returns), jnp.mean(jnp.square(returns))
    return ReturnStatistics(*(_MEMORY * old + (1 - _MEMORY) * now for old, now in zip(statistics, new, strict=True)))


def advantages(
    reward: Float[Array, " time *batch"], value: Float[Array, " time *batch"], discount: float, gae_lambda: float
) -> Float[Array, " time *batch"]:
    r"""Generalised advantage estimation, :math:`A_t = \delta_t + \gamma\lambda A_{t+1}`; nothing is earned afterwards.

    References:
      Schulman et al., `High-Dimensional Continuous Control Using Generalized Advantage Estimation
      <https://arxiv.org/abs/1506.02438>`_, 2016
    """
    following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
    return return_to_go(reward + discount * following - value, discount * gae_lambda)


def mean_of(x: Float[Array, "*batch"], acts: Bool[Array, "*batch"]) -> Float[Array, ""]:
    """The mean of those who have something to decide; 0 where nobody has."""
    return jnp.sum(jnp.where(acts, x, 0)) / jnp.maximum(jnp.sum(acts.astype(jnp.float32)), 1)


def standardised(x: Float[Array, "*batch"], acts: Bool[Array, "*batch"]) -> Float[Array, "*batch"]:
    """In deviations from the mean, both over those who have something to decide; 0 for the others."""
    apart = x - mean_of(x, acts)
    return jnp.where(acts, apart / (jnp.sqrt(mean_of(jnp.square(apart), acts)) + _TINY), 0)


class Surrogate(NamedTuple):
    """PPO's objective for the actor, and what it was made of.

    Attributes:
      loss: to be descended: less the clipped objective, less the weighted entropy.
      divergence: estimate of the KL divergence from the policy that acted.
      clipped: share of ratios beyond the clip.
      entropy: mean of the policy's.
    """

    loss: Float[Array, ""]
    divergence: Float[Array, ""]
    clipped: Float[Array, ""]
    entropy: Float[Array, ""]


def surrogate(
    logits: Float[Array, "*batch servers"],
    action: Int[Array, "*batch"],
    before: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    acts: Bool[Array, "*batch"],
    clip: float,
    entropy_weight: float,
) -> Surrogate:
    """The clipped surrogate of those who had something to decide.

    Args:
      logits: of the policy as it is now.
      action: what was done.
      before: the log probability of that when it was done.
      advantage: of that.
      acts: who had something to decide.
      clip: how far the ratio of probabilities counts, from 1.
      entropy_weight: weight of the entropy.

    References:
      Schulman et al., `Proximal Policy Optimization Algorithms <https://arxiv.org/abs/1707.06347>`_, 2017
    """
    log_ratio = Categorical(logits).log_density(action[..., None].astype(jnp.float32)) - before
    ratio = jnp.exp(log_ratio)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
    log_all = jax.nn.log_softmax(logits)
    entropy = mean_of(-jnp.sum(jnp.exp(log_all) * log_all, axis=-1), acts)
    return Surrogate(
        loss=-mean_of(gain, acts) - entropy_weight * entropy,
        divergence=mean_of(ratio - 1 - log_ratio, acts),
        clipped=mean_of((jnp.abs(ratio - 1) > clip).astype(jnp.float32), acts),
        entropy=entropy,
    )
