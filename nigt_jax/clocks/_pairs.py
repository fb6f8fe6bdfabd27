"""Arithmetic in unevaluated sums of two float32 numbers: about 14 digits without 64-bit types.

After Dekker, A Floating-Point Technique for Extending the Available Precision, 1971, and Knuth. Every operation gives
the same bits whether or not the compiler contracts a product and a sum into one fused instruction, which XLA does on
CPUs with FMA and on GPUs wherever both land in one kernel. Two rules make it so:

* Every product that is taken is exact in float32, because its factors have 12 bits. Rounding an exact product changes
  nothing, and neither does leaving the rounding out.
* A float32 from outside may be an inexact product that the compiler contracts into our first sum. :func:`widen`
  rebuilds it from its bits, so that everything here sees one and the same number.

What is called exact is exact as long as the last bits of the numbers are normal float32 numbers, above 1e-38: smaller
ones are flushed to zero. Infinity is a number like any other for sums and comparisons, with a low part of zero.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Pair(NamedTuple):
    """high + low, where high is the nearest float32 to the sum. Made by the functions here, from nothing else."""

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]


def split(value: float) -> Pair:
    """A Python number as a pair."""
    high = np.float32(value)
    return Pair(jnp.asarray(high), jnp.asarray(np.float32(value - float(high))))


def widen(value: Float[Array, "*shape"]) -> Pair:
    """A float32 as a pair, whatever expression the compiler may find behind it."""
    bits = jax.lax.bitcast_convert_type(value, jnp.int32)
    keep = lambda mask: jax.lax.bitcast_convert_type(bits & jnp.int32(mask), jnp.float32)
    # The leading 12 bits, and the other 12 less the power of two that they were put behind.
    whole = keep(-(2**12)) + (keep(-(2**23) + 2**12 - 1) - keep(-(2**23)))
    return Pair(jnp.where(jnp.isfinite(value), whole, value), jnp.zeros_like(value))


def whole(number: Int[Array, "*shape"]) -> Pair:
    """An int32, exactly."""
    upper, lower = number >> 12 << 12, number & 4095  # 19 bits and 12
    return _renormalise(upper.astype(jnp.float32), lower.astype(jnp.float32))


def add(a: Pair, b: Pair) -> Pair:
    """A + b."""
    high, error = _two_sum(a.high, b.high)
    return _renormalise(high, error + (a.low + b.low))


def subtract(a: Pair, b: Pair) -> Pair:
    """A - b."""
    return add(a, Pair(-b.high, -b.low))


def multiply(a: Pair, b: Pair) -> Pair:
    """A * b; of two numbers without low parts, exactly."""
    (a1, a2), (b1, b2) = _halves(a.high), _halves(b.high)
    high, error = _two_sum(a1 * b1, a1 * b2 + a2 * b1)  # the middle two have 24 bits together
    (c1, c2), (d1, d2) = _halves(a.low), _halves(b.low)
    crosswise = (a1 * d1 + (a1 * d2 + a2 * d1)) + (b1 * c1 + (b1 * c2 + b2 * c1))
    return _renormalise(high, error + (a2 * b2 + crosswise))


def divide(a: Pair, b: Pair) -> Pair:
    """A / b, by long division; b is not zero."""
    first = widen(a.high / b.high)  # by a constant this is a product to the compiler
    rest = subtract(a, multiply(first, b))
    return add(first, widen(rest.high / b.high))


def divide_whole(a: Pair, b: Pair) -> tuple[Pair, Pair]:
    """The whole number of times that b > 0 goes into a >= 0, up to 2^47 times, and what is left: in [0, b)."""
    first = widen(jnp.floor(a.high / b.high))
    rest = subtract(a, multiply(first, b))
    second = widen(jnp.floor(rest.high / b.high))
    rest = subtract(rest, multiply(second, b))
    # A quotient may have been rounded up to a whole number, or down from one.
    over, under = rest.high < 0, ~less(rest, b)
    step = jnp.where(over, -1.0, jnp.where(under, 1.0, 0.0)).astype(jnp.float32)
    rest = where(over, add(rest, b), where(under, subtract(rest, b), rest))
    return add(add(first, second), widen(step)), rest


def less(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """A < b."""
    return (a.high < b.high) | ((a.high == b.high) & (a.low < b.low))


def less_equal(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """A <= b."""
    return less(a, b) | equal(a, b)  # and not where one of them is NaN


def equal(a: Pair, b: Pair) -> Bool[Array, "*shape"]:
    """Whether they are the same number."""
    return (a.high == b.high) & (a.low == b.low)


def where(condition: Bool[Array, "*shape"], a: Pair, b: Pair) -> Pair:
    """A or b, element by element."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def broadcast(a: Pair, shape: tuple[int, ...]) -> Pair:
    """The same numbers in an array of that shape."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, shape), a)


def smallest(a: Pair) -> Pair:
    """The least number of an array."""
    high = jnp.min(a.high)
    return Pair(high, jnp.min(jnp.where(a.high == high, a.low, jnp.inf)))


def running_sum(a: Pair) -> Pair:
    """Sums of the first, the first two, ... elements along the last axis."""
    return _running(add, a)


def running_maximum(a: Pair) -> Pair:
    """The largest of the first, the first two, ... elements along the last axis."""
    return _running(lambda x, y: where(less(x, y), y, x), a)


def total(a: Pair) -> Pair:
    """The sum of a vector, added up in the form of a tree: the error grows with the logarithm of its length."""
    while a.high.size > 1:
        half = -(-a.high.size // 2)
        first, second = (jax.tree.map(lambda x: x[part], a) for part in (slice(half), slice(half, None)))  # noqa: B023
        a = add(first, jax.tree.map(lambda x: jnp.pad(x, (0, half - x.size)), second))  # noqa: B023
    return jax.tree.map(lambda x: x[0], a)


def _running(operation: Callable[[Pair, Pair], Pair], a: Pair) -> Pair:
    """One element after the other: a scan in the form of a tree takes ten times as long to compile."""
    columns = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), a)
    first = jax.tree.map(lambda x: x[0], columns)

    def step(so_far: Pair, column: Pair) -> tuple[Pair, Pair]:
        so_far = operation(so_far, column)
        return so_far, so_far

    _, rest = jax.lax.scan(step, first, jax.tree.map(lambda x: x[1:], columns))
    return jax.tree.map(lambda x, y: jnp.moveaxis(jnp.concatenate([x[None], y]), 0, -1), first, rest)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and exactly what the rounding lost (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _halves(a: Array) -> tuple[Array, Array]:
    """Two numbers of 12 bits that sum to `a`, so that products of halves are exact."""
    high = jax.lax.reduce_precision(a, exponent_bits=8, mantissa_bits=11)
    return high, a - high


def _renormalise(high: Array, low: Array) -> Pair:
    low = jnp.where(jnp.isfinite(high), low, 0)  # infinity less infinity is no error of rounding
    total = high + low
    return Pair(total, jnp.where(jnp.isfinite(total), low - (total - high), 0))
