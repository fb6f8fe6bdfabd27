"""Simulated time keeps what a single float32 loses."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import (
    Clock,
    FixedWork,
    clock_key,
    collect_round,
    exchange,
    rennala_rule,
    time_of,
    time_zero,
    to_float64,
)
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


def test_so_many_things_one_after_the_other():
    number, each = 16_777_213, np.float32(0.1)
    high, low = (Fraction(float(x)) for x in jax.jit(time_of)(jnp.int32(number), jnp.float32(each)))
    assert high + low == number * Fraction(float(each))
    assert float(jnp.float32(number) * each) != float(high + low)


def test_who_carries_on_does_so_while_the_server_is_busy():
    clock = Clock(work=FixedWork(jnp.array([1.0, 4.5])), speed=None, exchange=jnp.zeros(2), carry_over=True)
    _, collected = collect_round(clock, rennala_rule(1, 2), clock.begin(clock_key(0)))
    for busy, left in ((2, 1.5), (5, 0.0)):
        after = exchange(clock, collected, jnp.array([True, False]), time_of(jnp.int32(busy), jnp.float32(1)))
        assert to_float64(after.now) == 1 + busy
        np.testing.assert_array_equal(to_float64(after.start), [0, left])
