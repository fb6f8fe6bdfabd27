"""Rounds against an event queue, the known table, and what must hold for any times."""

import heapq
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nigt_jax
from nigt_jax.clocks import power_law
from nigt_jax.config import PowerLaw

ROUND = jax.jit(nigt_jax.rennala_round)
MALENIA = jax.jit(nigt_jax.malenia_round)


def event_queue(durations, batch_size):
    """Rennala as it is told: workers start again as soon as they are done, the server stops at the M-th arrival."""
    queue = [(row[0], i) for i, row in enumerate(durations)]
    heapq.heapify(queue)
    counts, now = [0] * len(durations), 0.0
    for _ in range(batch_size):
        now, i = heapq.heappop(queue)
        counts[i] += 1
        started_again = now + durations[i][counts[i]] if counts[i] < len(durations[i]) else np.inf
        heapq.heappush(queue, (started_again, i))
    # Who finished at the very end has not begun another: the last one, and those that came in at the same instant.
    finish = np.cumsum(durations, axis=1)
    done = [c > 0 and finish[i][c - 1] == now for i, c in enumerate(counts)]
    return counts, now, [0 if d else 1 for d in done]


def malenia_event_queue(durations, batch_size):
    """Malenia as it is told, in exact fractions; None where the durations end before the round does."""
    n, k = len(durations), len(durations[0])
    arrivals = sorted((sum(row[: j + 1]), i) for i, row in enumerate(durations) for j in range(k))
    counts = [0] * n
    for now, i in arrivals:
        counts[i] += 1
        if all(counts) and sum(Fraction(1, c) for c in counts) <= Fraction(n * n, batch_size):
            done = [sum(row[:c]) == now for row, c in zip(durations, counts, strict=True)]
            unsure = any(c == k and not d for c, d in zip(counts, done, strict=True))
            return None if unsure else (counts, now, [0 if d else 1 for d in done])
    return None


# Multiples of 1/4: sums are exact in float32, so ties are ties in both.
quarters = st.integers(1, 12).map(lambda k: k / 4)


@given(
    st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(quarters, min_size=9, max_size=9), min_size=n, max_size=n)),
    st.integers(1, 9),
)
def test_equals_an_event_queue(durations, batch_size):
    got = ROUND(jnp.asarray(durations, jnp.float32), batch_size)
    counts, elapsed, discarded = event_queue(durations, batch_size)
    assert got.counts.tolist() == counts
    assert float(got.elapsed) == elapsed
    assert got.discarded.tolist() == discarded
    assert int(got.counts.sum()) == batch_size
    assert bool(got.complete)


@given(
    st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(quarters, min_size=9, max_size=9), min_size=n, max_size=n)),
    st.integers(1, 40),
)
def test_malenia_equals_an_event_queue(durations, batch_size):
    got, expected = MALENIA(jnp.asarray(durations, jnp.float32), batch_size), malenia_event_queue(durations, batch_size)
    assert bool(got.complete) == (expected is not None)
    if expected is not None:
        assert (got.counts.tolist(), float(got.elapsed), got.discarded.tolist()) == expected


@given(
    st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(quarters, min_size=5, max_size=5), min_size=n, max_size=n)),
    st.integers(1, 40),
)
def test_a_synchronous_round_waits_for_the_last(durations, batch_size):
    got, each = (
        jax.jit(nigt_jax.synchronous_round)(jnp.asarray(durations), batch_size),
        -(-batch_size // len(durations)),
    )
    assert bool(got.complete) == (each <= 5)
    if each <= 5:
        assert got.counts.tolist() == [each] * len(durations)
        assert float(got.elapsed) == max(sum(row[:each]) for row in durations)
        assert not got.discarded.any()


def test_malenia_tells_counts_of_a_thousand_apart():
    """100 workers, equal but for rounding in float32: 1/M_i changes by a millionth, the sum by a hundred-millionth."""
    got = MALENIA(jnp.ones((100, 1030)), 100 * 1000 + 1)  # equal counts of 1000 are one hundred-thousandth short
    assert float(got.elapsed) == 1001
    wanted = next(j for j in range(101) if Fraction(j, 1001) + Fraction(100 - j, 1000) <= Fraction(100**2, 100_001))
    assert got.counts.tolist() == [1001] * wanted + [1000] * (100 - wanted)


def test_malenia_and_a_barrier_wait_for_who_never_answers_and_say_so():
    durations = jnp.array([[1.0, 1.0], [jnp.inf, jnp.inf]])
    assert not bool(MALENIA(durations, 1).complete)
    assert not bool(nigt_jax.synchronous_round(durations, 2).complete)


def test_ties_go_to_the_lower_index():
    got = ROUND(jnp.ones((3, 4)), 4)
    assert got.counts.tolist() == [2, 1, 1]
    assert got.discarded.tolist() == [0, 1, 1]  # worker 0 ended the round; 1 and 2 had just not been counted


def test_a_worker_that_never_answers_stops_nobody():
    got = ROUND(jnp.array([[1.0, 1.0, 1.0], [np.inf, np.inf, np.inf]]), 3)
    assert got.counts.tolist() == [3, 0]
    assert got.discarded.tolist() == [0, 1]
    assert bool(got.complete)


@pytest.mark.parametrize(
    ("durations", "batch_size"),
    [
        ([[1.0, 1.0], [5.0, 5.0]], 3),  # worker 0 may have had a third before time 5
        ([[1.0, 1.0], [np.inf, np.inf]], 3),  # never
        ([[1.0, 1.0]], 5),  # not enough given
    ],
)
def test_never_a_silently_wrong_answer(durations, batch_size):
    assert not bool(ROUND(jnp.array(durations), batch_size).complete)


def test_just_enough_is_complete():
    assert bool(ROUND(jnp.array([[1.0, 1.0], [5.0, 5.0]]), 2).complete)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(1, 12), st.integers(0, 5))
def test_a_faster_worker_never_lengthens_a_round(times, batch_size, who):
    h = np.asarray(times, np.float32)
    quicker = h.copy()
    quicker[who % len(h)] /= 2
    rounds = [ROUND(jnp.asarray(np.tile(x[:, None], (1, 12))), batch_size) for x in (h, quicker)]
    assert float(rounds[1].elapsed) <= float(rounds[0].elapsed)


def test_vmap_and_a_traced_batch_size():
    durations = jnp.asarray(np.random.default_rng(0).integers(1, 9, (5, 3, 8)), jnp.float32)
    sizes = jnp.arange(1, 6)
    many = jax.jit(jax.vmap(nigt_jax.rennala_round))(durations, sizes)
    for k in range(5):
        alone = ROUND(durations[k], k + 1)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a[k] == b).all()), many, alone))  # noqa: B023


def test_power_law_depends_on_worker_and_parameters():
    law = PowerLaw(scale=2.0, worker_exponent=0.5, parameter_exponent=0.25)
    np.testing.assert_allclose(power_law(law, 4, 16), 2 * np.sqrt([1, 2, 3, 4]) * 2, rtol=1e-6)
    np.testing.assert_allclose(power_law(PowerLaw(values=(3.0, 1.0)), 2, 16), [3, 1])
