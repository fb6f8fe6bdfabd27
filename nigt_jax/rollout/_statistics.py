"""Running statistics of observations, from trajectories as the lanes played them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.rollout._policy import Normalizer
from nigt_jax.rollout._rollout import Steps, Trajectories

_LARGEST = 1e9  # what is larger counts as this: physics that is about to break must not leave a NaN here
_STD_LIMITS = 1e-6, 1e6  # those of Brax


class Seen(NamedTuple):
    """What there is to know of some observations; all leaves may have a leading axis of groups.

    Attributes:
      count: how many; exact up to 2^24, beyond that with float32's rounding.
      mean: of each of their numbers.
      variance: likewise; of the population.
    """

    count: Float[Array, "*groups"]  # type: ignore[assignment]  # shadows tuple.count
    mean: Float[Array, "*groups obs"]
    variance: Float[Array, "*groups obs"]


@jax.named_scope("statistics")
def see(trajectories: Trajectories, axis_name: str | None) -> Seen:
    """What each group's episodes have seen, on all devices of the axis (None: on this one).

    In two passes, for a large mean would swallow a small deviation in one.
    """
    groups, numbers = trajectories.groups, trajectories.observation.shape[-1]
    across = lambda sums: sums if axis_name is None else jax.lax.psum(sums, axis_name)
    nothing = jnp.zeros((groups, numbers))

    def relative(steps: Steps, to: Float[Array, " obs"]) -> Float[Array, "steps obs"]:
        bounded = jnp.clip(steps.observation, -_LARGEST, _LARGEST)
        return jnp.where(steps.valid[:, None], bounded - to[None], 0)

    def add(group: Array, sums: tuple, steps: Steps) -> tuple:
        return sums[0] + steps.valid.sum(dtype=jnp.float32), sums[1] + relative(steps, nothing[group]).sum(0)

    count, total = across(trajectories.fold(add, (jnp.zeros(groups), nothing)))
    number = jnp.maximum(count, 1)[:, None]
    mean = total / number

    def spread(group: Array, squares: Array, steps: Steps) -> Array:
        return squares + jnp.square(relative(steps, mean[group])).sum(0)

    return Seen(count, mean, across(trajectories.fold(spread, nothing)) / number)


def observe(normalizer: Normalizer, seen: Seen) -> Normalizer:
    """The statistics after more observations; neither has an axis of groups.

    The means and variances of both together, by the formula of Chan, Golub and LeVeque (1979).
    """
    before = normalizer.count.hi.astype(jnp.float32) * 2.0**32 + normalizer.count.lo.astype(jnp.float32)
    share = seen.count / jnp.maximum(before + seen.count, 1)
    difference = seen.mean - normalizer.mean
    summed = normalizer.summed_variance + seen.count * seen.variance + before * share * jnp.square(difference)
    high = jnp.floor(seen.count / 2.0**32)  # many devices together may see more than an int32 holds
    more = normalizer.count.replace(hi=high.astype(jnp.uint32), lo=(seen.count - high * 2.0**32).astype(jnp.uint32))
    after = normalizer.replace(
        count=normalizer.count + more,
        mean=normalizer.mean + share * difference,
        summed_variance=summed,
        std=jnp.clip(jnp.sqrt(summed / jnp.maximum(before + seen.count, 1)), *_STD_LIMITS),
    )
    return jax.tree.map(lambda new, old: jnp.where(seen.count > 0, new, old), after, normalizer)
