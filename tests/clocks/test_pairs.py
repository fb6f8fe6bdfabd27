"""Pairs of float32 against exact fractions, under jit, where a compiler might be too clever."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.clocks import _pairs as pairs


def exact(pair):
    """The numbers that an array of pairs stands for."""
    return [Fraction(float(h)) + Fraction(float(low)) for h, low in zip(pair.high, pair.low, strict=True)]


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (pairs.add, lambda a, b: a + b),
        (pairs.subtract, lambda a, b: a - b),
        (pairs.multiply, lambda a, b: a * b),
    ],
)
def test_operations(operation, wanted):
    rng = np.random.default_rng(0)
    a, b = (
        pairs.Pair(*(jnp.asarray(x, jnp.float32) for x in (high, high * rng.uniform(-3e-8, 3e-8, 500))))
        for high in (rng.lognormal(0, 3, 500), rng.lognormal(0, 3, 500))
    )
    for got, x, y in zip(exact(jax.jit(operation)(a, b)), exact(a), exact(b), strict=True):
        scale = max(abs(x), abs(y), abs(wanted(x, y)))
        assert abs(got - wanted(x, y)) <= scale * Fraction(1, 2**44)


def test_reciprocal():
    x = jnp.asarray([1, 3, 7, 1000, 1001, 123457, 2**23 + 1], jnp.float32)
    for got, value in zip(exact(jax.jit(pairs.reciprocal)(x)), x, strict=True):
        assert abs(got * int(value) - 1) <= Fraction(1, 2**44)


def test_split():
    pair = pairs.split(100_003.0**2)  # more than 24 bits
    assert float(pair.high) + float(pair.low) == 100_003.0**2
