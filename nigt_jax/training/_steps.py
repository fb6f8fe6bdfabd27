"""Numbers of steps of a round: an int32 holds those of a block, but not those of all blocks on all devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

_BITS = 22  # of the lower part: its sums over 500 devices still fit, and so does what is left of 4e15 steps


class StepCount(NamedTuple):
    """A number of up to 4e15, ``high * 2**22 + low``: there are no 64 bits on a device unless JAX is told so.

    Sums over devices may be taken of both parts apart.

    Attributes:
      high: a whole number, 0 or more.
      low: likewise; below 2^22 until sums over devices are taken.
    """

    high: Int[Array, "*shape"]
    low: Int[Array, "*shape"]

    @classmethod
    def of(cls, number: Int[np.ndarray, "*shape"]) -> "StepCount":
        """From whole numbers on the host; :meth:`most` for all that are larger."""
        number = np.minimum(np.asarray(number, np.int64), cls.most())
        parts = number >> _BITS, number & ((1 << _BITS) - 1)
        return cls(*(jnp.asarray(part, jnp.int32) for part in parts))

    @staticmethod
    def most() -> int:
        """The largest number that there is."""
        return (np.iinfo(np.int32).max << _BITS) + (1 << _BITS) - 1


def count_steps(number: Int[Array, "*shape"]) -> StepCount:
    """From an int32."""
    return StepCount(number >> _BITS, number & ((1 << _BITS) - 1))


def add_steps(one: StepCount, other: StepCount) -> StepCount:
    """The sum."""
    low = count_steps(one.low + other.low)
    return StepCount(one.high + other.high + low.high, low.low)


def at_least(one: StepCount, other: StepCount) -> Bool[Array, "*shape"]:
    """Whether one is as large as the other, or larger; both as :func:`add_steps` leaves them."""
    return (one.high > other.high) | ((one.high == other.high) & (one.low >= other.low))


def steps_left(limit: StepCount, spent: StepCount) -> Int[Array, "*shape"]:
    """Limit less spent, as far as an int32 can say."""
    high = jnp.clip(limit.high - spent.high, -(1 << (30 - _BITS)), 1 << (30 - _BITS))
    return (high << _BITS) + (limit.low - spent.low)


def steps_as_float(count: StepCount) -> Float[Array, "*shape"]:
    """The number to seven digits."""
    return count.high.astype(jnp.float32) * (1 << _BITS) + count.low.astype(jnp.float32)


def whole_steps(count: StepCount) -> Int[np.ndarray, "*shape"]:
    """The number itself, an int64 on the host."""
    high, low = (np.asarray(x, np.int64) for x in jax.device_get(count))
    return np.asarray((high << _BITS) + low)
