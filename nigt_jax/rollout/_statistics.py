"""Statistics of observations, from trajectories as the lanes played them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.collectives import sum_over
from nigt_jax.policies import ObservationStatistics
from nigt_jax.rollout._rollout import Steps, Trajectories

MOST_OBSERVED = 1e9  # what is larger counts as this: physics that is about to break must not leave a NaN here


@jax.named_scope("statistics")
def observation_statistics(trajectories: Trajectories, axis_name: str | None) -> ObservationStatistics:
    """The statistics of each group's observations.

    They take two passes, for a large mean would swallow a small deviation in one.

    Args:
      trajectories: the episodes.
      axis_name: the axis of devices whose episodes count; None for this device alone.
    """
    groups, numbers = trajectories.groups, trajectories.observation.shape[-1]
    nothing = jnp.zeros((groups, numbers))

    def relative(steps: Steps, to: Float[Array, " obs"]) -> Float[Array, "steps obs"]:
        bounded = jnp.clip(steps.observation, -MOST_OBSERVED, MOST_OBSERVED)
        return jnp.where(steps.valid[:, None], bounded - to[None], 0)

    def add(group: Array, sums: tuple, steps: Steps) -> tuple:
        return sums[0] + steps.valid.sum(dtype=jnp.float32), sums[1] + relative(steps, nothing[group]).sum(0)

    count, total = sum_over(axis_name, trajectories.fold(add, (jnp.zeros(groups), nothing)))
    number = jnp.maximum(count, 1)[:, None]
    mean = total / number

    def spread(group: Array, squares: Array, steps: Steps) -> Array:
        return squares + jnp.square(relative(steps, mean[group])).sum(0)

    return ObservationStatistics(count, mean, sum_over(axis_name, trajectories.fold(spread, nothing)) / number)
