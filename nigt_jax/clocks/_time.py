"""Simulated time that does not lose small rounds in a large sum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.clocks._pairs import Pair, multiply, whole, widen

SimulatedTime = Pair
"""Time as a pair of float32 numbers: one alone stops moving once the total is 2^24 times a round."""


def time_zero() -> SimulatedTime:
    """The beginning of simulated time."""
    return SimulatedTime(jnp.zeros([], jnp.float32), jnp.zeros([], jnp.float32))


def time_of(number: Int[Array, "*shape"], each: Float[Array, "*shape"]) -> SimulatedTime:
    """What so many things take one after the other, to 14 digits; exactly where `number` is below 2^24."""
    return multiply(whole(number), widen(each))


def to_float64(time: SimulatedTime) -> Any:
    """The time in float64 on the host, in the clock's unit; a NumPy number, or an array. Not under jit."""
    high, low = jax.device_get((time.high, time.low))
    return np.asarray(high, np.float64) + np.asarray(low, np.float64)  # NumPy 2.0 makes a number of an array of one
