"""A worker's unit of work where time is real: one gradient, at a cost that does not depend on how its episodes go.

A unit is computed in a few compiled calls, between which a worker may learn that nobody waits for it any more.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from nigt_jax.environments import Variation
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.policies import Normalizer, ObservationStatistics
from nigt_jax.rollout import Tasks, Trajectories, advance_steady, begin_steady, steady_trajectories
from nigt_jax.training._parts import Parts

_FARTHEST = 1e9  # an observation that is larger counts as this: what is about to break must not leave a NaN


class Assignment(NamedTuple):
    """What a worker computes with.

    Attributes:
      params: the query point.
      normalizer: observation statistics that belong to it.
      charge: what an episode earns for every step that it misses because the physics broke.
    """

    params: Any
    normalizer: Normalizer
    charge: Float[Array, ""]


class Unit(NamedTuple):
    """What one gradient, or the sum of several, brings.

    Attributes:
      gradient: ascent direction, like the parameters: of each gradient the mean over its episodes; summed.
      statistics: of the observations of all of them.
      returns: undiscounted returns of their episodes, summed.
      env_steps: steps of their episodes up to their ends; no int32 is exceeded by a worker in a round.
      diverged: episodes that broke the physics.
      lowest: the lowest reward of a step in an episode that did not break, or 0.
    """

    gradient: Any
    statistics: ObservationStatistics
    returns: Float[Array, ""]
    env_steps: Int[Array, ""]
    diverged: Int[Array, ""]
    lowest: Float[Array, ""]


def begin_unit(parts: Parts, sent: Assignment, variation: Variation | None, key: Key[Array, ""]) -> Any:
    """The unit's episodes at their starts."""
    tasks = _tasks(parts, sent, variation, key)
    return begin_steady(parts.environment, parts.policy, tasks, parts.horizon, lanes_last=parts.lanes_last)


def advance_unit(
    parts: Parts, sent: Assignment, variation: Variation | None, key: Key[Array, ""], now: Any, steps: Int[Array, ""]
) -> Any:
    """So many steps more; there are `parts.horizon` in all."""
    tasks = _tasks(parts, sent, variation, key)
    return advance_steady(
        parts.environment, parts.policy, tasks, parts.horizon, now, steps, lanes_last=parts.lanes_last
    )


def finish_unit(
    parts: Parts, sent: Assignment, hyperparameters: Any, variation: Variation | None, key: Key[Array, ""], now: Any
) -> Unit:
    """The gradient of a unit whose steps are all made.

    Args:
      parts: the run's parts; the estimator keeps nothing.
      sent: what the worker was sent.
      hyperparameters: those of the estimator.
      variation: how the worker's environment differs, leaves []; None where it does not.
      key: the unit's.
      now: where it is.
    """
    one = lambda tree: jax.tree.map(lambda x: x[None], tree)
    batch = steady_trajectories(_tasks(parts, sent, variation, key), parts.horizon, parts.chunk_size, now)
    params, normalizer, tuned = one((sent.params, sent.normalizer, hyperparameters))
    alive = batch.alive()
    factors = jnp.where(alive, parts.estimator.coefficients((), batch, normalizer, tuned, None), 0)
    whole = batch.of_full_length()  # so that what comes after an end costs as much as what comes before
    total = policy_gradient_sum(parts.policy, params, normalizer, whole, factors)
    return Unit(
        gradient=jax.tree.map(lambda x: x[0] / parts.trajectories_per_gradient, total),
        statistics=_statistics(batch, alive),
        returns=batch.returns.sum(),
        env_steps=batch.lengths.sum(dtype=jnp.int32),
        diverged=batch.outcomes.diverged.sum(dtype=jnp.int32),
        lowest=batch.lowest()[0],
    )


def add_units(one: Unit, other: Unit) -> Unit:
    """What both bring."""
    summed = jax.tree.map(jnp.add, one, other)
    return summed._replace(
        statistics=_together(one.statistics, other.statistics), lowest=jnp.minimum(one.lowest, other.lowest)
    )


def _tasks(parts: Parts, sent: Assignment, variation: Variation | None, key: Key[Array, ""]) -> Tasks:
    each = parts.trajectories_per_gradient
    params, normalizer, charge = jax.tree.map(lambda x: x[None], sent)
    return Tasks(
        keys=jax.random.split(key, each),
        active=jnp.ones(each, bool),
        params=params,
        normalizer=normalizer,
        variation=jax.tree.map(lambda x: jnp.broadcast_to(x, (each, *x.shape)), variation),
        charge=charge,
    )


def _statistics(batch: Trajectories, alive: Bool[Array, "time episodes"]) -> ObservationStatistics:
    """The statistics of the observations; a lane for every episode, from its first row on."""
    counted, seen = alive[:, :, None], jnp.clip(batch.observation, -_FARTHEST, _FARTHEST)
    count = alive.sum(dtype=jnp.float32)
    number = jnp.maximum(count, 1)
    mean = jnp.where(counted, seen, 0).sum((0, 1)) / number
    spread = jnp.where(counted, jnp.square(seen - mean[None, None]), 0).sum((0, 1)) / number
    return ObservationStatistics(count, mean, spread)


def _together(one: ObservationStatistics, other: ObservationStatistics) -> ObservationStatistics:
    """Of both, by the formula of Chan, Golub and LeVeque (1979)."""
    count = one.count + other.count
    number, difference = jnp.maximum(count, 1), other.mean - one.mean
    share = other.count / number
    squares = one.count * one.variance + other.count * other.variance + one.count * share * jnp.square(difference)
    return ObservationStatistics(count, one.mean + share * difference, squares / number)
