r"""Each agent's estimate of its own gradient, with the help of an earlier one at another point.

An agent keeps a point ref and an estimate mu of its gradient there. Of B episodes at theta it makes

.. math::
    v = \bar g(\theta) + (1 - \beta) (\mu - \overline{w\, g}(\text{ref}))

where the weighted mean tells, without bias, what the same episodes say of ref. SVRPG has beta = 0, and takes a large
batch at theta, which then becomes ref, every m rounds. MDPGT keeps the last round's theta and v, with beta > 0. What in
an objective is deterministic is not estimated, and has no weights.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.config.systems import ReductionConfig
from nigt_jax.related._system import Scalars
from nigt_jax.related.svrpg_tracking._task import Task
from nigt_jax.related.svrpg_tracking._weights import coefficients, density_weights


class Reference(NamedTuple):
    """What agents remember; leaves have a leading axis of agents.

    Attributes:
      params: where; () where nothing is remembered.
      gradient: the estimate there, of what is random in it.
    """

    params: Any
    gradient: Any


class Estimate(NamedTuple):
    """What agents have found in a round.

    Attributes:
      value: each agent's estimate v of its gradient, what is deterministic included.
      reference: what agents remember from now on.
      episodes: number of episodes of each agent.
      steps: steps in the episodes of all agents.
      told: what a record says of these.
      largest_weight: the largest weight of a reward, 1 at least.
      capped: number of weights that were too large.
    """

    value: Any
    reference: Reference
    episodes: Int[Array, ""]
    steps: Int[Array, ""]
    told: Scalars
    largest_weight: Float[Array, ""]
    capped: Int[Array, ""]


def begin_reference(settings: ReductionConfig, params: Any) -> Reference:
    """Before the first round, which needs none."""
    if settings.reduction == "none":
        return Reference((), ())
    return Reference(params, jax.tree.map(jnp.zeros_like, params))


def estimate(
    task: Task,
    settings: ReductionConfig,
    params: Any,
    reference: Reference,
    iteration: Int[Array, ""],
    key: PRNGKeyArray,
) -> Estimate:
    """Plays the episodes of a round, and makes estimates of them.

    Args:
      task: what agents do.
      settings: how they estimate.
      params: parameters of all agents.
      reference: what they remember.
      iteration: number of the round, from 0.
      key: of its episodes.
    """
    fresh = _is_fresh(settings, iteration)
    number = jnp.where(fresh, jnp.int32(settings.snapshot_batch), jnp.int32(settings.batch))
    there = jnp.arange(settings.most_episodes, dtype=jnp.int32) < number
    episodes = task.play(params, key, there)
    rewards = task.rewards(episodes)
    share = jnp.where(there, 1 / number.astype(rewards.dtype), 0)[None, None, :]
    factors = coefficients(rewards, None, there, task.discount, task.baseline)
    here = task.score_sum(params, episodes, factors * share)
    largest, capped, value = jnp.ones([], rewards.dtype), jnp.zeros([], jnp.int32), here
    if settings.reduction != "none":

        def corrected() -> tuple[Any, Array, Array]:
            logs = jnp.where(there[None, None, :], task.log_ratio(params, reference.params, episodes), 0)
            weights, largest, capped = density_weights(logs, settings.weights == "per_decision", settings.weight_cap)
            weighted = coefficients(rewards, weights, there, task.discount, task.baseline)
            elsewhere = task.score_sum(reference.params, episodes, weighted * share)
            kept = 1 - settings.newest_weight if settings.reduction == "mdpgt" else 1.0
            value = jax.tree.map(lambda g, mu, w: g + kept * (mu - w), here, reference.gradient, elsewhere)
            return value, largest, capped

        value, largest, capped = jax.lax.cond(fresh, lambda: (here, largest, capped), corrected)
        renewed = fresh | (settings.reduction == "mdpgt")
        reference = _renewed(renewed, Reference(params, value), reference)
    whole = jax.tree.map(jnp.add, value, task.deterministic(params))
    return Estimate(whole, reference, number, task.steps(episodes), task.told(episodes), largest, capped)


def _is_fresh(settings: ReductionConfig, iteration: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether a round needs no reference, and has the large batch."""
    if settings.reduction == "none":
        return jnp.zeros([], bool)
    return iteration % settings.period == 0 if settings.reduction == "svrpg" else iteration == 0


def _renewed(renewed: Array, new: Reference, old: Reference) -> Reference:
    return jax.tree.map(lambda x, y: jnp.where(renewed, x, y), new, old)
