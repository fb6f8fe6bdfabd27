"""Arithmetic in unevaluated sums of two float32 numbers: about 14 digits without 64-bit types.

After Dekker, A Floating-Point Technique for Extending the Available Precision, 1971, and Knuth. Exact where it says
so only with round-to-nearest and without reassociation, which is how XLA computes by default.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Pair(NamedTuple):
    """high + low, where high is the nearest float32 to the sum."""

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]


def split(value: float) -> Pair:
    """A Python number as a pair."""
    high = np.float32(value)
    return Pair(jnp.asarray(high), jnp.asarray(np.float32(value - float(high))))


def add(a: Pair, b: Pair) -> Pair:
    """A + b."""
    high, error = _two_sum(a.high, b.high)
    return _renormalise(high, error + (a.low + b.low))


def subtract(a: Pair, b: Pair) -> Pair:
    """A - b."""
    return add(a, Pair(-b.high, -b.low))


def multiply(a: Pair, b: Pair) -> Pair:
    """A * b."""
    high, error = _two_product(a.high, b.high)
    return _renormalise(high, error + (a.high * b.low + a.low * b.high))


def reciprocal(x: Float[Array, "*shape"]) -> Pair:
    """1 / x of a plain float32."""
    high = 1 / x
    product, error = _two_product(high, x)
    return _renormalise(high, ((1 - product) - error) / x)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and exactly what the rounding lost (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product and exactly what the rounding lost (Dekker)."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    product = a * b
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _halves(a: Array) -> tuple[Array, Array]:
    """Two numbers of 12 bits that sum to `a` (Veltkamp)."""
    scaled = 4097 * a
    high = scaled - (scaled - a)
    return high, a - high


def _renormalise(high: Array, low: Array) -> Pair:
    total = high + low
    return Pair(total, low - (total - high))
