"""Rounds of a million workers against whole numbers: no time is rounded in them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.clocks import make_clock, malenia_rule, play_round, rennala_rule, to_float64
from nigt_jax.config import check_config

WORKERS, BATCH = 10**6, 10**7
UNIT = 2.0**-23  # float32 numbers from 1 to 1000 are whole multiples of it
ENOUGH = {
    "rennala": lambda counts: counts.sum() >= BATCH,
    "malenia": lambda counts: counts.min() > 0 and math.fsum(1 / counts) <= WORKERS**2 / BATCH,
}
RULES = {"rennala": rennala_rule, "malenia": malenia_rule}


def first(holds, low, high):
    """The least whole number in (low, high] for which it holds."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def exact(name, durations):
    """Counts, end and discarded gradients of the first round, from the definition."""
    counted = lambda time: time // durations
    end = first(lambda time: ENOUGH[name](counted(time)), 0, 2**40)
    before, arriving = counted(end - 1), np.flatnonzero(end % durations == 0)

    def after(number):
        counts = before.copy()
        counts[arriving[:number]] += 1
        return counts

    needed = first(lambda number: ENOUGH[name](after(number)), 0, arriving.size)
    idle = np.zeros(durations.size, bool)
    idle[arriving[:needed]] = True
    return after(needed), end, ~idle


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("exponent", [pytest.param(0.5, marks=pytest.mark.slow), 0.0])
def test_one_round(name, exponent):
    law = {"worker_exponent": exponent}
    workers = check_config({"workers": {"count": WORKERS, "compute_time": law}}).workers
    clock = make_clock(workers, 1, BATCH)
    durations = np.asarray(clock.work.mean, np.float64) / UNIT
    assert (durations == durations.astype(np.int64)).all()
    counts, end, discarded = exact(name, durations.astype(np.int64))
    rule = RULES[name](jnp.int32(BATCH), WORKERS)
    got, after = jax.jit(play_round)(clock, rule, clock.begin(jax.random.key(0)))
    assert got.complete
    np.testing.assert_array_equal(got.counts, counts)
    np.testing.assert_array_equal(got.discarded, discarded)
    assert float(got.elapsed) == np.float32(end * UNIT)
    assert to_float64(after.now) == pytest.approx(end * UNIT + float(clock.exchange.max()), rel=1e-13)
