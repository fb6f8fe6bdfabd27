"""Simulated time that does not lose small rounds in a large sum."""

import jax
import jax.numpy as jnp

from nigt_jax.clocks._pairs import Pair

SimulatedTime = Pair
"""Time as a pair of float32 numbers: one alone stops moving once the total is 2^24 times a round."""


def time_zero() -> SimulatedTime:
    """The beginning of simulated time."""
    return SimulatedTime(jnp.zeros([], jnp.float32), jnp.zeros([], jnp.float32))


def to_float(time: SimulatedTime) -> float:
    """The time as one Python float, in the clock's unit. Not under jit."""
    return float(jax.device_get(time.high)) + float(jax.device_get(time.low))
