"""A worker's unit of work where time is real: one gradient, at a cost that does not depend on how its episodes go.

A unit is computed in a few compiled calls, between which a worker may learn that nobody waits for it any more.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from nigt_jax.environments import Variation
from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import WorkerSide
from nigt_jax.policies import Normalizer, ObservationStatistics
from nigt_jax.rollout import MOST_OBSERVED, Tasks, Trajectories, advance_steady, begin_steady, steady_trajectories
from nigt_jax.training._parts import Parts


class Assignment(NamedTuple):
    """What a worker computes with.

    Attributes:
      params: the query point.
      normalizer: observation statistics that belong to it.
      charge: what an episode earns for every step that it misses because the physics broke.
      told: of a method whose workers keep something: what they have to know of the server, and the hyperparameters of
        the next update; otherwise ().
    """

    params: Any
    normalizer: Normalizer
    charge: Float[Array, ""]
    told: Any = ()


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
    batch = steady_trajectories(_tasks(parts, sent, variation, key), parts.horizon, parts.chunk_size, now)
    work = _work_units(parts, sent, hyperparameters, batch, jnp.asarray(parts.trajectories_per_gradient))
    return _unit(batch, jax.tree.map(lambda x: x[0], work.gradients()))


def finish_contribution(
    parts: Parts,
    sent: Assignment,
    hyperparameters: Any,
    variation: Variation | None,
    key: Key[Array, ""],
    now: Any,
    kept: Any,
    episodes: Int[Array, ""],
) -> tuple[Unit, Bool[Array, ""], Any]:
    """What a worker that keeps something sends, where its method has a single exchange.

    Args:
      parts: the run's parts, with as many trajectories in a gradient as a worker plays in a round, or more.
      sent: what the worker was sent.
      hyperparameters: those of the estimator.
      variation: how the worker's environment differs, leaves []; None where it does not.
      key: the unit's.
      now: where it is.
      kept: what the worker keeps.
      episodes: how many of the unit's episodes count, the first ones.

    Returns:
      A unit whose gradient is the message, whether the worker uploads it, and what it keeps if that is absorbed.
    """
    played = steady_trajectories(_tasks(parts, sent, variation, key), parts.horizon, parts.chunk_size, now)
    batch = played.only(jnp.arange(parts.trajectories_per_gradient) < episodes)
    (contribute,) = cast(WorkerSide, parts.method.worker).exchanges(sent.told[1])
    own = jax.tree.map(lambda x: x[None], kept)
    sends, after = contribute(own, _work_units(parts, sent, hyperparameters, batch, episodes), *sent.told)
    first = lambda tree: jax.tree.map(lambda x: x[0], tree)
    return _unit(batch, first(sends.message)), sends.uploads[0], first(after)


def _work_units(
    parts: Parts, sent: Assignment, hyperparameters: Any, batch: Trajectories, episodes: Int[Array, ""]
) -> WorkUnits:
    """The episodes of one worker; what comes after an end costs as much as what comes before."""
    params, normalizer, tuned = jax.tree.map(lambda x: x[None], (sent.params, sent.normalizer, hyperparameters))
    factors = jnp.where(batch.alive(), parts.estimator.coefficients((), batch, normalizer, tuned, None), 0)
    return WorkUnits(parts.policy, params, normalizer, batch.of_full_length(), factors, episodes[None])


def _unit(batch: Trajectories, gradient: Any) -> Unit:
    return Unit(
        gradient=gradient,
        statistics=_statistics(batch, batch.alive()),
        returns=batch.returns.sum(),
        env_steps=batch.lengths.sum(dtype=jnp.int32),
        diverged=batch.outcomes.diverged.sum(dtype=jnp.int32),
        lowest=batch.lowest()[0],
    )


@jax.jit
def add_units(one: Unit, other: Unit) -> Unit:
    """What both bring."""
    summed = jax.tree.map(jnp.add, one, other)
    return summed._replace(
        statistics=_together(one.statistics, other.statistics), lowest=jnp.minimum(one.lowest, other.lowest)
    )


def _tasks(parts: Parts, sent: Assignment, variation: Variation | None, key: Key[Array, ""]) -> Tasks:
    each = parts.trajectories_per_gradient
    params, normalizer, charge = jax.tree.map(lambda x: x[None], (sent.params, sent.normalizer, sent.charge))
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
    counted, seen = alive[:, :, None], jnp.clip(batch.observation, -MOST_OBSERVED, MOST_OBSERVED)
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
