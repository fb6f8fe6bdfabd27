"""Running statistics of observations, by which a policy standardises what it sees."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt

_STD_LIMITS = 1e-6, 1e6
MOST_DEVIATIONS = 10.0  # deviations from the mean; what is further away counts as so far


class ObservationStatistics(NamedTuple):
    """What is known of some observations; all leaves may have a leading axis of groups.

    Attributes:
      count: number of them; exact up to 2^24, beyond that with float32's rounding.
      mean: the mean of each of their numbers.
      variance: the variance of each of their numbers, that of the population.
    """

    count: Float[Array, "*groups"]  # type: ignore[assignment]  # shadows tuple.count
    mean: Float[Array, "*groups obs"]
    variance: Float[Array, "*groups obs"]


class Count(NamedTuple):
    """A number of up to 2^64, ``hi * 2**32 + lo``: there are no 64 bits on a device unless JAX is told so."""

    hi: UInt[Array, "*groups"]
    lo: UInt[Array, "*groups"]


class Normalizer(NamedTuple):
    """Statistics of all observations so far; all leaves may have a leading axis of groups.

    Attributes:
      count: number of them.
      mean: the mean of each of their numbers.
      summed_variance: count times the variance of each.
      std: their deviation, within limits; 1 before there are any.
    """

    count: Count  # type: ignore[assignment]  # shadows tuple.count
    mean: Float[Array, "*groups obs"]
    summed_variance: Float[Array, "*groups obs"]
    std: Float[Array, "*groups obs"]


def init_normalizer(size: int) -> Normalizer:
    """Statistics of no observations of so many numbers: mean 0, deviation 1."""
    zero = jnp.zeros([], jnp.uint32)
    return Normalizer(Count(zero, zero), jnp.zeros(size), jnp.zeros(size), jnp.ones(size))


def standardise(normalizer: Normalizer, observation: Float[Array, "*batch obs"]) -> Float[Array, "*batch obs"]:
    """The observation in deviations from the mean, ten at most."""
    with jax.numpy_rank_promotion("allow"):
        return jnp.clip((observation - normalizer.mean) / normalizer.std, -MOST_DEVIATIONS, MOST_DEVIATIONS)


def update_statistics(normalizer: Normalizer, more: ObservationStatistics) -> Normalizer:
    """The statistics after more observations; neither has an axis of groups.

    The means and variances of both together follow from the formula of Chan, Golub and LeVeque (1979).
    """
    chex.assert_equal_shape((normalizer.mean, more.mean, more.variance))
    before = normalizer.count.hi.astype(jnp.float32) * 2.0**32 + normalizer.count.lo.astype(jnp.float32)
    share = more.count / jnp.maximum(before + more.count, 1)
    difference = more.mean - normalizer.mean
    summed = normalizer.summed_variance + more.count * more.variance + before * share * jnp.square(difference)
    after = Normalizer(
        count=_added(normalizer.count, more.count),
        mean=normalizer.mean + share * difference,
        summed_variance=summed,
        std=jnp.clip(jnp.sqrt(summed / jnp.maximum(before + more.count, 1)), *_STD_LIMITS),
    )
    return jax.tree.map(lambda new, old: jnp.where(more.count > 0, new, old), after, normalizer)


def _added(count: Count, number: Float[Array, ""]) -> Count:
    """A whole number more; many devices together may see more than an int32 holds."""
    high = jnp.floor(number / 2.0**32)
    low = count.lo + (number - high * 2.0**32).astype(jnp.uint32)
    carry = (low < count.lo).astype(jnp.uint32)
    return Count(count.hi + high.astype(jnp.uint32) + carry, low)
