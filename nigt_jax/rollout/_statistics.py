"""Running statistics of observations, from trajectories as the lanes played them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.rollout._brax import running_statistics
from nigt_jax.rollout._policy import Normalizer
from nigt_jax.rollout._rollout import Steps, Trajectories


class Seen(NamedTuple):
    """What there is to know of some observations; all leaves may have a leading axis of groups.

    Attributes:
      count: how many.
      mean: of each of their numbers.
      deviation: likewise; of the population.
    """

    count: Int[Array, "*groups"]  # type: ignore[assignment]  # shadows tuple.count
    mean: Float[Array, "*groups obs"]
    deviation: Float[Array, "*groups obs"]


def see(trajectories: Trajectories, around: Float[Array, "groups obs"], axis_name: str | None) -> Seen:
    """What each group's episodes have seen, on all devices of the axis (None: on this one).

    Args:
      trajectories: the episodes.
      around: a mean that is not far off, or squares of large observations would swallow small deviations.
      axis_name: the axis.
    """

    def add(group: Array, sums: tuple, steps: Steps) -> tuple:
        relative = jnp.where(steps.valid[:, None], steps.observation - around[group][None], 0)
        count, first, second = sums
        return count + steps.valid.sum(), first + relative.sum(0), second + jnp.square(relative).sum(0)

    start = (jnp.zeros(around.shape[0], jnp.int32), jnp.zeros_like(around), jnp.zeros_like(around))
    sums = trajectories.fold(add, start)
    count, first, second = sums if axis_name is None else jax.lax.psum(sums, axis_name)
    number = jnp.maximum(count, 1).astype(jnp.float32)[:, None]
    mean = first / number
    return Seen(count, around + mean, jnp.sqrt(jnp.maximum(second / number - jnp.square(mean), 0)))


def observe(normalizer: Normalizer, seen: Seen) -> Normalizer:
    """The statistics after more observations; neither has an axis of groups.

    Brax's own update, of two points a dimension that have the mean and the deviation of all that was seen.
    """
    points = jnp.stack([seen.mean - seen.deviation, seen.mean + seen.deviation])
    weight = jnp.broadcast_to(seen.count.astype(jnp.float32) / 2, (2,))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        after = running_statistics.update(normalizer, points, weights=weight, validate_shapes=False)
    return jax.tree.map(lambda new, old: jnp.where(seen.count > 0, new, old), after, normalizer)
