"""Rounds of recorded, random and changing times against exact rationals."""

from fractions import Fraction

import jax
import numpy as np
import pytest
from clock_cases import TIMES, changing, changing_at_random, drawn, recorded
from compiled_rounds import assert_same, begin_many, case_of, play_quickly, stacked_clocks, stacked_rules, workers_of
from exact_rounds import exact, play

from nigt_jax.config import Noise

ROUNDS, CASES = 4, 40


def compare(workers, finishes, rules, seed=0, now=None, rel=2e-7):
    """Plays cases, whose rules take turns, and compares every one.

    Args:
      workers: configurations of one kind, by case.
      finishes: the oracle's answers, by case.
      rules: names.
      seed: of the batch sizes.
      now: when each case begins.
      rel: tolerance of a round's time.
    """
    rng, n, cases = np.random.default_rng(seed), workers[0].count, len(workers)
    names = [rules[k % len(rules)] for k in range(cases)]
    most = lambda name: n if name == "m_synchronous" else 4 * n
    sizes = [tuple(int(x) for x in rng.integers(1, most(name) + 1, 2)) for name in names]
    clock = stacked_clocks(workers)
    first, later = (stacked_rules(names, [pair[k] for pair in sizes], n) for k in (0, 1))
    got = jax.device_get(play_quickly(ROUNDS, clock, first, later, begin_many(clock, range(cases), now)))
    for k, own in enumerate(workers):
        begin, exchange = Fraction(0) if now is None else exact(now[k]), exact(own.communication_time.values)
        wanted = play(ROUNDS, names[k], sizes[k], finishes[k], exchange, own.topology, own.carry_over, begin)
        assert_same(case_of(got, k), wanted, f"case {k}, {names[k]}, M {sizes[k]}, {own}", rel)


def halves(rng):
    """Times of exchanges."""
    return (rng.integers(0, 5, len(TIMES)) / 2).tolist()


def test_recorded_times(tmp_path):
    rng, how = np.random.default_rng(0), {"carry_over": True, "topology": "shared-link"}
    cases = [recorded(rng, tmp_path / f"{k}.csv", halves(rng), **how) for k in range(CASES)]
    compare(*zip(*cases, strict=True), ["synchronous", "m_synchronous"])


@pytest.mark.usefixtures("compiled_quickly")
def test_random_times():
    """The draws are the package's own; what is made of them is not."""
    workers = [workers_of(TIMES, [1.0] * 4, noise=Noise(family="exponential"), topology="allreduce")] * CASES
    # Compiled together with the rounds, a draw may be rounded otherwise.
    compare(workers, drawn(workers), ["rennala"], rel=1e-6)


@pytest.mark.usefixtures("compiled_quickly")
def test_speeds_that_change():
    rng = np.random.default_rng(2)
    cases = [changing_at_random(rng, halves(rng), carry_over=True) for _ in range(CASES)]
    compare(*zip(*cases, strict=True), ["malenia"], now=[float(k) / 4 for k in range(CASES)])


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize(("period", "scale"), [(86_400.0, 0.02), (86_400.0, 0.003), (604_800.0, 0.01)])
def test_a_long_period(period, scale):
    """Late in a day, or a week, of many short gradients; the nights are slower for some."""
    times = [scale * x for x in (1, 1.0903, 1.171, 1.3007)]
    nights = [((2, 3), 0.5 * period, 0.9 * period, 0.25)]
    starts = [period * x for x in np.linspace(0, 30.2, CASES)]
    cases = [changing(times, nights, period, [scale] * 4, carry_over=True) for _ in starts]
    compare(*zip(*cases, strict=True), ["malenia"], now=starts, rel=1e-6)
