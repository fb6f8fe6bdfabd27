"""What holds on any clock, whether its times are fixed, random, recorded or changing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nigt_jax.clocks import (
    Clock,
    FixedWork,
    Speed,
    begin_arrivals,
    m_synchronous_rule,
    malenia_rule,
    never_ends,
    next_arrival,
    play_round,
    rennala_rule,
    synchronous_rule,
)
from nigt_jax.clocks._pairs import widen
from nigt_jax.clocks._work import LognormalWork, recorded_work

WORKERS, ROUNDS, ARRIVALS, MOST = 4, 4, 20, 400
KINDS = ["fixed", "random", "recorded", "changing"]
RULES = {
    "rennala": rennala_rule,
    "malenia": malenia_rule,
    "synchronous": synchronous_rule,
    "m_synchronous": m_synchronous_rule,
}
BEGINS, PERIOD = [0.0, 2.0, 5.0], 8.0

lists = lambda elements, size: st.lists(elements, min_size=size, max_size=size)
quarters = st.integers(1, 12).map(lambda k: k / 4)  # so that there are ties
speeds = st.tuples(*(st.sampled_from(some) for some in ([0.0, 0.5, 1.0], [0.0, 1.0], [0.5, 1.0, 2.0])))
tables = st.fixed_dictionaries(
    {
        "table": lists(lists(quarters, 5), WORKERS).map(np.array),
        "profile": lists(speeds, WORKERS).map(np.array),
        "period": st.sampled_from([PERIOD, np.inf]),
        "exchange": lists(st.integers(0, 6).map(lambda k: k / 4), WORKERS),
    }
)
some = lambda least: st.sets(st.integers(0, WORKERS - 1), min_size=least, max_size=WORKERS - 1).map(
    lambda chosen: np.isin(np.arange(WORKERS), list(chosen))
)
factors = st.sampled_from([1.5, 4.0, np.inf])
seeds = st.integers(0, 2**32 - 1)

play = jax.jit(play_round)
amounts = jax.jit(lambda work, key, number: work.amounts(key, number))


def make(kind, numbers, slower=None, carry_over=False, topology="parallel-links"):
    """A clock of a kind, its workers slower by factors; by inf are those that never answer."""
    slower = np.ones(WORKERS) if slower is None else slower
    table, real = numbers["table"] * slower[:, None], lambda x: jnp.asarray(x, jnp.float32)
    work, speed = FixedWork(real(table[:, 0])), None
    if kind == "random":
        work = LognormalWork(real(table[:, 0]), jnp.float32(0.7))
    if kind == "recorded":
        work = recorded_work(table.ravel(), np.full(WORKERS, 5))
    if kind == "changing":
        work = recorded_work(numbers["table"].ravel(), np.full(WORKERS, 5))
        begins = real([BEGINS] * WORKERS)
        speed = Speed(begins, real(numbers["profile"] / slower[:, None]), jnp.float32(numbers["period"]))
    return Clock(
        work=work,
        speed=speed,
        exchange=real(numbers["exchange"]),
        carry_over=carry_over,
        topology=topology,
        window=3,
    )


def rule_of(name, batch_size):
    return RULES[name](min(batch_size, WORKERS) if name == "m_synchronous" else batch_size, WORKERS)


def rounds(clock, rule, seed, now=0.0):
    """Of each round: the state before, what it gave, the state after."""
    state = clock.begin(jax.random.key(seed))._replace(now=widen(jnp.float32(now)))
    for _ in range(ROUNDS):
        round, after = play(clock, rule, state)
        yield state, jax.device_get(round), after
        state = after


def work_of(clock, key, begun):
    """Of each worker's gradients from number `begun` on."""
    number = np.asarray(begun)[:, None] + np.arange(MOST, dtype=np.int32)
    return np.asarray(amounts(clock.work, key, number), np.float64)


def done_by(clock, time):
    """Work that each worker could have done from 0 to its `time`, an integral of its speed."""
    if clock.speed is None:
        return time
    begin, value, period = (np.asarray(x, np.float64) for x in clock.speed)
    cycles, rest = (np.zeros(WORKERS), time) if np.isinf(period) else (time // period, time % period)
    end = np.append(begin[:, 1:], np.full((WORKERS, 1), period), axis=1)
    within = lambda t: (value * (np.minimum(end, t[:, None]) - np.minimum(begin, t[:, None]))).sum(axis=1)
    return within(rest) + (cycles * within(np.full(WORKERS, period)) if cycles.any() else 0)


def wide(pair):
    return np.asarray(pair.high, np.float64) + np.asarray(pair.low, np.float64)


@pytest.mark.parametrize(
    ("kind", "carry_over"),
    [
        ("fixed", True),
        pytest.param("random", True, marks=pytest.mark.slow),
        ("recorded", False),
        pytest.param("changing", True, marks=pytest.mark.slow),
    ],
)
@given(tables, st.sampled_from(sorted(RULES)), st.integers(1, 12), seeds, st.sampled_from([0.0, 2.0**25 + 4]))
def test_no_gradient_is_lost_or_counted_twice(kind, carry_over, numbers, name, batch_size, seed, now):
    """Each is counted or discarded, in the order of their numbers, and counted exactly if its work was done in time."""
    rule = rule_of(name, batch_size)
    clock = make(kind, numbers, carry_over=carry_over)
    share = int(getattr(rule, "share", None) or MOST)
    begun = np.zeros(WORKERS, int)
    for before, round, after in rounds(clock, rule, seed, now):
        assert round.complete
        assert set(round.discarded) <= {0, 1}
        if name == "malenia":
            assert (1 / round.counts).sum() <= WORKERS**2 / batch_size * (1 + 1e-6)
        else:
            assert round.counts.sum() == rule.need
        began, end = wide(before.now) + wide(before.start), wide(before.now) + float(round.elapsed)
        possible = done_by(clock, np.maximum(began, end)) - done_by(clock, began)
        work = np.cumsum(np.insert(work_of(clock, before.key, before.begun), 0, 0, axis=1), axis=1)  # of the first k
        counted, with_next = (np.take_along_axis(work, (round.counts + k)[:, None], axis=1)[:, 0] for k in (0, 1))
        near = 1e-4 * (1 + possible)
        assert (counted <= possible + near).all()
        assert ((possible <= with_next + near) | (round.counts == share)).all()
        # Who has nothing to discard ended the round, waits at a barrier, or was busy with something older all along.
        elsewhere = (round.counts == share) | (began >= end)
        assert (elsewhere | (np.abs(counted - possible) <= near) | (round.discarded == 1)).all()
        assert not (elsewhere & (round.discarded == 1)).any()
        again = wide(after.now) + wide(after.start)
        if carry_over:  # what is discarded is finished all the same, before its worker begins again
            assert ((done_by(clock, again) - done_by(clock, began) >= with_next - near) | (round.discarded == 0)).all()
        assert (again >= np.where(began >= end, began, end) - 1e-5).all()
        begun += round.counts + round.discarded
        np.testing.assert_array_equal(after.begun, begun)


@pytest.mark.parametrize("kind", [k if k == "fixed" else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
@given(tables, st.sampled_from(sorted(RULES)), st.integers(1, 12), seeds, st.sampled_from([0.0, 2.0**25 + 4]))
def test_time_never_goes_back(kind, numbers, rule, batch_size, seed, now):
    for before, round, after in rounds(make(kind, numbers), rule_of(rule, batch_size), seed, now):
        assert round.elapsed > 0
        spent = wide(after.now) - wide(before.now)
        assert spent == pytest.approx(float(round.elapsed) + max(numbers["exchange"]), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(tables, st.integers(1, 3), factors, seeds)
def test_rennala_never_waits_for_a_worker_that_it_does_not_need(kind, numbers, batch_size, factor, seed):
    rule = rule_of("rennala", batch_size)
    usual = [round for _, round, _ in rounds(make(kind, numbers), rule, seed)]
    unneeded = np.sum([round.counts for round in usual], axis=0) == 0
    assume(unneeded.any())
    clock = make(kind, numbers, np.where(unneeded, factor, 1.0))
    for round, (_, other, _) in zip(usual, rounds(clock, rule, seed), strict=True):
        assert other.complete
        assert other.counts.tolist() == round.counts.tolist()
        assert other.elapsed == round.elapsed


@pytest.mark.parametrize("kind", KINDS)
@given(tables, st.sampled_from(sorted(RULES)), st.integers(1, 12), some(1), seeds)
def test_who_never_answers_stops_only_those_who_wait_for_everybody(kind, numbers, name, batch_size, silent, seed):
    clock = make(kind, numbers, np.where(silent, np.inf, 1.0))
    rule = rule_of(name, min(batch_size, int((~silent).sum())) if name == "m_synchronous" else batch_size)
    for before, round, _ in rounds(clock, rule, seed):
        assert bool(round.complete) == (name in ("rennala", "m_synchronous"))
        if not round.complete:
            if kind in ("fixed", "changing"):  # only these can be told to fall silent
                assert sorted(never_ends(clock, rule, before, 1).waits_for) == (np.flatnonzero(silent) + 1).tolist()
            break
        assert not round.counts[silent].any()


@pytest.mark.parametrize("kind", KINDS)
@given(tables, st.integers(1, 12), st.integers(0, WORKERS - 1), st.sampled_from([1.1, 2.0, 30.0]), seeds)
def test_a_faster_worker_never_lengthens_a_rennala_round(kind, numbers, batch_size, who, factor, seed):
    rule, slower = rule_of("rennala", batch_size), np.where(np.arange(WORKERS) == who, 1 / factor, 1.0)
    usual, faster = (next(rounds(make(kind, numbers, s), rule, seed))[1] for s in (None, slower))
    assert faster.elapsed <= usual.elapsed * (1 + 1e-6)
    assert faster.counts[who] >= usual.counts[who]


@jax.jit
def play_arrivals(clock, key):
    def step(state, _):
        worker, answered, state = next_arrival(clock, state)
        return state, (worker, answered, state.now)

    state, rows = jax.lax.scan(step, begin_arrivals(clock, key), length=ARRIVALS)
    return state.begun, *rows


@pytest.mark.parametrize(("kind", "shared"), list(zip(KINDS, [False, True, False, True], strict=True)))
@given(tables, some(0), seeds)
def test_every_gradient_arrives_once(kind, shared, numbers, silent, seed):
    """In order, each as long after the one before as its work and its exchange take, or when the link is free."""
    clock = make(kind, numbers, np.where(silent, np.inf, 1.0), topology="shared-link" if shared else "parallel-links")
    key, exchange = jax.random.key(seed), np.array(numbers["exchange"])
    begun, worker, answered, now = jax.device_get(play_arrivals(clock, key))
    assert answered.all()
    assert not silent[worker].any()
    assert begun.tolist() == (np.bincount(worker, minlength=WORKERS) + 1).tolist()
    now, work = wide(now), work_of(clock, key, np.zeros(WORKERS, np.int32))
    assert (np.diff(now, prepend=0.0) >= (exchange[worker] - 1e-5 if shared else 0)).all()
    last, number, free = np.zeros(WORKERS), np.zeros(WORKERS, int), 0.0
    for i, time in zip(worker, now, strict=True):
        took = (done_by(clock, np.full(WORKERS, time - exchange[i])) - done_by(clock, last))[i]
        queued = shared and time - exchange[i] == pytest.approx(free)
        assert took >= work[i, number[i]] - 1e-4
        assert queued or took <= work[i, number[i]] + 1e-4
        last[i] = free = time
        number[i] += 1
    under_way = done_by(clock, np.maximum(last, now[-1] - exchange)) - done_by(clock, last)
    assert shared or (under_way <= work[np.arange(WORKERS), number] + 1e-4).all()
