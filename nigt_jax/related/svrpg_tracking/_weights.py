r"""What each score of an episode is multiplied by, where the episode was played by the policy or by another one.

With per-decision weights :math:`w_{0:h} = \prod_{t \le h} \pi_{\text{ref}}(a_t | s_t) / \pi_\theta(a_t | s_t)`

.. math::
    A_t = \gamma^t \Bigl( \sum_{h \ge t} \gamma^{h-t} r_h w_{0:h} - b_t w_{0:t} \Bigr)

makes the mean of :math:`\sum_t A_t \nabla \log \pi_{\text{ref}}(a_t | s_t)` over episodes of :math:`\pi_\theta` the
gradient of the discounted return at ref: a reward does not depend on later actions, so their weights are left out. The
baseline :math:`b_t` is one of other episodes, which knows nothing of the action :math:`a_t`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.discounting import return_to_go


def density_weights(
    log_ratio: Float[Array, "time agents places"], per_decision: bool, cap: float | None
) -> tuple[Float[Array, "time agents places"], Float[Array, ""], Int[Array, ""]]:
    """Weight of the reward of each step.

    Args:
      log_ratio: log of how likely each action is under the other policy, as a multiple of what it was; 0 where nothing
        was played.
      per_decision: whether the weight of a reward is that of the actions up to it, or that of the whole episode.
      cap: larger weights become this one; None for never.

    Returns:
      The weights; the largest of them as it was without the cap, and 1 at least; how many the cap has changed.
    """
    logs = jnp.cumsum(log_ratio, axis=0)
    if not per_decision:
        logs = jnp.broadcast_to(logs[-1:], logs.shape)
    weights = jnp.exp(logs)
    largest = jnp.maximum(weights.max(), 1)  # that of no decision
    if cap is None:
        return weights, largest, jnp.zeros([], jnp.int32)
    return jnp.minimum(weights, cap), largest, jnp.sum(weights > cap, dtype=jnp.int32)


def coefficients(
    rewards: Float[Array, "time agents places"],
    weights: Float[Array, "time agents places"] | None,
    there: Bool[Array, " places"],
    discount: float,
    baseline: bool,
) -> Float[Array, "time agents places"]:
    """The factors A_t of the scores.

    Args:
      rewards: of each step, 0 after an episode's end.
      weights: of each step's reward; None for 1.
      there: which places have an episode.
      discount: discount factor, per step.
      baseline: whether b_t is the mean of what followed step t in the agent's other episodes, not 0.
    """
    earned = rewards if weights is None else rewards * weights
    to_go = return_to_go(earned, discount)
    if baseline:
        others = _mean_of_others(to_go if weights is None else return_to_go(rewards, discount), there)
        to_go -= others if weights is None else others * weights
    time = jnp.arange(rewards.shape[0], dtype=rewards.dtype)
    return (jnp.asarray(discount, rewards.dtype) ** time)[:, None, None] * to_go


def _mean_of_others(to_go: Array, there: Array) -> Array:
    kept = jnp.where(there[None, None, :], to_go, 0)
    number = jnp.maximum(there.sum().astype(to_go.dtype) - 1, 1)
    return (kept.sum(2, keepdims=True) - kept) / number
