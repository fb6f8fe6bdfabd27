"""Numbers of steps of a round: an int32 holds those of a block, but not those of all blocks on all devices."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

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


def count_steps(number: Int[Array, "*shape"]) -> StepCount:
    """From an int32."""
    return StepCount(number >> _BITS, number & ((1 << _BITS) - 1))


def add_steps(one: StepCount, other: StepCount) -> StepCount:
    """The sum."""
    low = count_steps(one.low + other.low)
    return StepCount(one.high + other.high + low.high, low.low)


def whole_steps(count: StepCount) -> Int[np.ndarray, "*shape"]:
    """The number itself, an int64 on the host."""
    high, low = (np.asarray(x, np.int64) for x in jax.device_get(count))
    return np.asarray((high << _BITS) + low)
