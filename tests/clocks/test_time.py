"""Simulated time keeps what a single float32 loses."""

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import time_zero, to_float64
from nigt_jax.clocks._pairs import add, widen


def advance(time, elapsed):
    return add(time, widen(elapsed))


def test_a_million_rounds():
    elapsed = jnp.float32(8.162278)
    total = jax.jit(lambda: jax.lax.fori_loop(0, 1_000_000, lambda _, t: advance(t, elapsed), time_zero()))()
    exact = 1_000_000 * float(elapsed)
    assert abs(to_float64(total) / exact - 1) < 1e-12
    plain = jax.lax.fori_loop(0, 1_000_000, lambda _, t: t + elapsed, jnp.float32(0))
    assert abs(float(plain) / exact - 1) > 1e-5  # what it is for


def test_small_after_large():
    steps = np.random.default_rng(0).exponential(1.0, 1000).astype(np.float32)
    total = advance(time_zero(), jnp.float32(1e8))
    for step in steps:
        total = jax.jit(advance)(total, step)
    assert abs(to_float64(total) - (1e8 + steps.astype(np.float64).sum())) < 1e-4
