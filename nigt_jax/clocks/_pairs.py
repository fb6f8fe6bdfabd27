"""Arithmetic in unevaluated sums of two float32 numbers: about 14 digits without 64-bit types.

After Dekker, A Floating-Point Technique for Extending the Available Precision, 1971, and Knuth. Exact where it says
so only with round-to-nearest and without reassociation, which is how XLA computes by default; whether the compiler
fuses a product and a sum makes no difference. Infinity is a value like any other, with a low part of zero.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Pair(NamedTuple):
    """high + low, where high is the nearest float32 to the sum."""

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]


def split(value: float) -> Pair:
    """A Python number as a pair."""
    high = np.float32(value)
    return Pair(jnp.asarray(high), jnp.asarray(np.float32(value - float(high))))


def widen(value: Float[Array, "*shape"]) -> Pair:
    """A float32 as a pair."""
    return Pair(value, jnp.zeros_like(value))


def whole(number: Int[Array, "*shape"]) -> Pair:
    """An int32, exactly."""
    high = number.astype(jnp.float32)
    # The nearest float32 to the largest int32 is no int32 any more.
    back = jnp.where(high < 2.0**31, high, 0).astype(jnp.int32)
    return Pair(high, jnp.where(high < 2.0**31, number - back, -1).astype(jnp.float32))


def add(a: Pair, b: Pair) -> Pair:
    """A + b."""
    high, error = _two_sum(a.high, b.high)
    return _renormalise(high, error + (a.low + b.low))


def subtract(a: Pair, b: Pair) -> Pair:
    """A - b."""
    return add(a, Pair(-b.high, -b.low))


def multiply(a: Pair, b: Pair) -> Pair:
    """A * b; of two numbers without low parts, exactly."""
    high, error = _two_product(a.high, b.high)
    return _renormalise(high, error + (a.high * b.low + a.low * b.high))


def reciprocal(x: Float[Array, "*shape"]) -> Pair:
    """1 / x of a plain float32."""
    high = 1 / x
    product, error = _two_product(high, x)
    return _renormalise(high, ((1 - product) - error) / x)


def less(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """A < b."""
    return (a.high < b.high) | ((a.high == b.high) & (a.low < b.low))


def less_equal(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """A <= b."""
    return ~less(b, a)


def equal(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """Whether they are the same number."""
    return (a.high == b.high) & (a.low == b.low)


def where(condition: Bool[Array, "*shape"], a: Pair, b: Pair) -> Pair:
    """A or b, element by element."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def smallest(a: Pair) -> Pair:
    """The least number of an array."""
    high = jnp.min(a.high)
    return Pair(high, jnp.min(jnp.where(a.high == high, a.low, jnp.inf)))


def running_sum(a: Pair, axis: int = 0) -> Pair:
    """Sums of the first, the first two, ... elements."""
    return jax.lax.associative_scan(add, a, axis=axis)


def total(a: Pair) -> Pair:
    """The sum of a vector: of columns first, so that no sum is of many more than a thousand."""
    zero = jnp.zeros([], jnp.float32)
    by_add = lambda x: Pair(*jax.lax.reduce(tuple(x), (zero, zero), lambda p, q: tuple(add(Pair(*p), Pair(*q))), (0,)))
    columns = jax.tree.map(lambda x: jnp.pad(x, (0, -x.shape[0] % 1024)).reshape(-1, 1024), a)
    return by_add(by_add(columns))


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
    """Two numbers of 12 bits that sum to `a`, so that products of halves are exact."""
    high = jax.lax.reduce_precision(a, exponent_bits=8, mantissa_bits=11)
    return high, a - high


def _renormalise(high: Array, low: Array) -> Pair:
    low = jnp.where(jnp.isfinite(high), low, 0)  # infinity less infinity is no error of rounding
    total = high + low
    return Pair(total, jnp.where(jnp.isfinite(total), low - (total - high), 0))
