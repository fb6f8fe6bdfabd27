"""The clock against a discrete-event simulation, round after round."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from event_queue import Simulation
from hypothesis import given
from hypothesis import strategies as st

from nigt_jax.clocks import (
    Clock,
    FixedWork,
    OneOfRules,
    Speed,
    YoungerThan,
    begin_arrivals,
    m_synchronous_rule,
    make_clock,
    malenia_rule,
    never_comes,
    never_ends,
    next_arrival,
    play_round,
    rennala_rule,
    synchronous_rule,
    to_float64,
)
from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._work import RANDOM_WORK, exponential_of, recorded_work
from nigt_jax.config import Noise, PowerLaw, WorkersConfig

RULES = {
    "rennala": rennala_rule,
    "malenia": malenia_rule,
    "synchronous": synchronous_rule,
    "m_synchronous": m_synchronous_rule,
}
ROUNDS = 4
WORKERS = 4

# Multiples of 1/4 are exact in float32, so ties are ties in both.
quarters = st.integers(1, 12).map(lambda k: k / 4)
lists = lambda elements, size: st.lists(elements, min_size=size, max_size=size)
cases = {
    "rule": st.sampled_from(sorted(RULES)),
    "batch_size": st.integers(1, 12),
    # Together, since each of them is another program to compile.
    "how": st.sampled_from([(False, "parallel-links"), (True, "shared-link")]),
    "exchange": lists(st.integers(0, 6).map(lambda k: k / 4), WORKERS),
}


one_round = jax.jit(play_round)  # compiled once for clocks and rules of the same kind


@functools.partial(jax.jit, static_argnames="rule")
def play(clock, rule, batch_size):
    def step(state, _):
        counted, state = play_round(clock, RULES[rule](batch_size, clock.workers), state)
        return state, (counted, state.now)

    return jax.lax.scan(step, clock.begin(jax.random.key(0)), length=ROUNDS)[1]


@jax.jit
def play_numbered(clock, number, batch_size):
    """The same with a traced rule."""

    def step(state, _):
        rule = OneOfRules(number, tuple(make(batch_size, clock.workers) for make in RULES.values()))
        counted, state = play_round(clock, rule, state)
        return state, (counted, state.now)

    return jax.lax.scan(step, clock.begin(jax.random.key(0)), length=ROUNDS)[1]


def simulate(finish, rule, batch_size, how, exchange):
    carry_over, topology = how
    shared = lambda counts: sum(x for x, c in zip(exchange, counts, strict=True) if c)
    cost = shared if topology == "shared-link" else lambda counts: max(exchange)
    simulation = Simulation(finish, rule, batch_size, carry_over, cost)
    for _ in range(ROUNDS):
        yield (*simulation.round(), simulation.env.now)


def assert_same(got, wanted):
    for k, (counts, elapsed, discarded, wanted_now) in enumerate(wanted):
        counted, now = jax.tree.map(lambda x: x[k], got)  # noqa: B023
        assert counted.counts.tolist() == counts
        assert float(counted.elapsed) == pytest.approx(float(elapsed), rel=1e-6)
        assert counted.discarded.tolist() == discarded
        assert bool(counted.complete)
        assert to_float64(now) == pytest.approx(float(wanted_now), rel=1e-6)


@given(times=lists(quarters, WORKERS), **cases)
def test_fixed_times_in_closed_form(times, rule, batch_size, how, exchange):
    batch_size = min(batch_size, WORKERS) if rule == "m_synchronous" else batch_size
    clock = Clock(
        work=FixedWork(jnp.array(times)), speed=None, exchange=jnp.array(exchange), topology=how[1],
        carry_over=how[0],
    )  # fmt: skip
    finish = [lambda k, t, h=h: t + h for h in times]
    got = play_numbered(clock, jnp.int32(list(RULES).index(rule)), batch_size)
    assert_same(got, simulate(finish, rule, batch_size, how, exchange))


@given(table=lists(lists(quarters, 7), WORKERS), window=st.sampled_from([1, 3]), **cases)
def test_any_times(table, window, rule, batch_size, how, exchange):
    batch_size = min(batch_size, WORKERS) if rule == "m_synchronous" else batch_size
    clock = Clock(
        work=recorded_work(np.ravel(table), np.full(WORKERS, 7)), speed=None, exchange=jnp.array(exchange),
        topology=how[1], carry_over=how[0], window=window,
    )  # fmt: skip
    finish = [lambda k, t, row=row: t + row[k % 7] for row in table]
    got = play_numbered(clock, jnp.int32(list(RULES).index(rule)), batch_size)
    assert_same(got, simulate(finish, rule, batch_size, how, exchange))


def finish_at(pieces, period, work, start):
    """When `work` begun at `start` is done, by walking from piece to piece; pieces are (begin, speed)."""
    time, left = start, work
    cycles = itertools.count() if period else [0]
    for cycle in cycles:
        for k, (begin, value) in enumerate(pieces):
            a = begin + cycle * (period or 0)
            b = (
                pieces[k + 1][0] + cycle * (period or 0)
                if k + 1 < len(pieces)
                else (cycle + 1) * period
                if period
                else np.inf
            )
            a = max(a, time)
            if a >= b:
                continue
            if value * (b - a) >= left and value > 0:
                return a + left / value
            left, time = left - value * (b - a) if value else left, b
    return np.inf


speeds = st.sampled_from([0.0, 0.5, 1.0, 2.0])


@given(
    profile=lists(st.tuples(speeds, speeds, st.sampled_from([0.5, 1.0, 2.0])), WORKERS),
    period=st.sampled_from([None, 8.0]),
    **cases,
)
def test_workers_that_change_their_speed(profile, period, rule, batch_size, how, exchange):
    batch_size = min(batch_size, WORKERS) if rule == "m_synchronous" else batch_size
    begins = [0.0, 2.5, 4.0]
    speed = Speed(jnp.array([begins] * WORKERS), jnp.array(profile), jnp.float32(period or np.inf))
    times = [1.0, 0.75, 2.0, 1.25]
    clock = Clock(
        work=FixedWork(jnp.array(times)), speed=speed, exchange=jnp.array(exchange), topology=how[1],
        carry_over=how[0], window=3,
    )  # fmt: skip
    finish = [
        lambda k, t, h=h, values=values: finish_at(list(zip(begins, values, strict=True)), period, h, t)
        for h, values in zip(times, profile, strict=True)
    ]
    got = play_numbered(clock, jnp.int32(list(RULES).index(rule)), batch_size)
    assert_same(got, simulate(finish, rule, batch_size, how, exchange))


CLOCKS = {
    "fixed": (FixedWork(jnp.array([1.0, 0.75, 2.0, 1.25])), None),
    "recorded": (recorded_work(np.arange(1, 29) / 4, np.full(WORKERS, 7)), None),
    "changing": (
        FixedWork(jnp.array([1.0, 0.75, 2.0, 1.25])),
        Speed(jnp.array([[0.0, 2.5]] * WORKERS), jnp.array([[1.0, 0.5]] * WORKERS), jnp.float32(8)),
    ),
}


@pytest.mark.parametrize(
    "kind", ["recorded", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("fixed", "changing"))]
)
@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_rule_alone_is_the_same_as_among_others(rule, kind):
    """The tests above choose among all rules, as programs of many runs do; a run of its own has one."""
    work, speed = CLOCKS[kind]
    clock = Clock(work=work, speed=speed, exchange=jnp.array([0.0, 0.25, 0.5, 0.75]), window=3)
    for batch_size in (1, 3, 4) if rule == "m_synchronous" else (1, 4, 11):
        alone = play(clock, rule, batch_size)
        among = play_numbered(clock, jnp.int32(list(RULES).index(rule)), batch_size)
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(among), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("rule", "workers", "batch_size", "elapsed"),
    [
        *(("rennala", 10, m, t) for m, t in [(20, 5.00), (30, 6.93), (50, 11.0)]),
        *(("rennala", 100, m, t) for m, t in [(20, 4.00), (30, 4.69), (50, 6.00)]),
        *(("malenia", 10, m, t) for m, t in [(20, 6.0), (30, 8.0), (50, 12.6)]),
        *(("malenia", 100, m, t) for m, t in [(20, 10.0), (30, 10.0), (50, 10.0)]),
        *(("synchronous", n, n, t) for n, t in [(10, 3.16), (100, 10.0)]),
    ],
)
def test_the_published_table(rule, workers, batch_size, elapsed):
    clock = make_clock(WorkersConfig(count=workers), parameters=1, batch_size=batch_size)
    counted, _ = play_numbered(clock, jnp.int32(list(RULES).index(rule)), batch_size)
    np.testing.assert_allclose(counted.elapsed, elapsed, atol=0.06)


@pytest.mark.slow
def test_a_million_workers_without_enumerating_gradients():
    workers, batch_size = 10**6, 10**7
    clock = make_clock(WorkersConfig(count=workers), 1, batch_size)
    counted, _ = jax.jit(lambda s: play_round(clock, rennala_rule(batch_size, workers), s))(
        clock.begin(jax.random.key(0))
    )
    counts, end = np.asarray(counted.counts), float(counted.elapsed)
    h = np.asarray(clock.work.mean, np.float64)
    assert counts.sum() == batch_size
    assert bool(counted.complete)
    assert ((counts * h <= end * (1 + 1e-7)) & ((counts + 1) * h >= end * (1 - 1e-7))).all()
    inside = (
        np.floor(np.nextafter(np.float32(end), np.float32(0)) / h).sum(),
        np.floor(np.nextafter(np.float32(end), np.float32(np.inf)) / h).sum(),
    )
    assert inside[0] < batch_size <= inside[1]


@pytest.mark.parametrize("family", sorted(RANDOM_WORK))
def test_random_times_have_the_mean_asked_for(family):
    work = RANDOM_WORK[family](jnp.array([1.0, 3.0]), jnp.float32(2.5 if family == "pareto" else 0.7))
    amounts = np.asarray(jax.jit(work.amounts)(jax.random.key(1), jnp.tile(jnp.arange(40_000), (2, 1))), np.float64)
    deviation = amounts.std(axis=1) / np.sqrt(amounts.shape[1])
    assert (np.abs(amounts.mean(axis=1) - [1, 3]) < 5 * deviation).all()
    assert (amounts > 0).all()
    assert np.abs(np.corrcoef(amounts)[0, 1]) < 0.03


def test_the_shapes_of_random_times():
    number, draws = jnp.arange(40_000)[None, :], {}
    for family, shape in [("exponential", 1.0), ("gamma", 4.0), ("lognormal", 0.5), ("pareto", 5.0)]:
        work = RANDOM_WORK[family](jnp.ones(1), jnp.float32(shape))
        draws[family] = np.asarray(jax.jit(work.amounts)(jax.random.key(0), number), np.float64)[0]
    assert draws["exponential"].var() == pytest.approx(1, rel=0.05)
    assert draws["gamma"].var() == pytest.approx(1 / 4, rel=0.05)
    assert np.log(draws["lognormal"]).std() == pytest.approx(0.5, rel=0.02)
    assert draws["pareto"].min() == pytest.approx(0.8, rel=1e-3)
    assert (draws["pareto"] > 1.6).mean() == pytest.approx((0.8 / 1.6) ** 5, rel=0.1)


def tail_strata(most):
    """Random bits with 0, 1, ... leading zeros, 4,000 of each, and how probable each number of zeros is."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (most, 4000, 5), np.uint64)
    for zeros in range(most):
        word, bit = divmod(zeros, 32)
        bits[zeros, :, :word] = 0
        bits[zeros, :, word] = bits[zeros, :, word] >> (bit + 1) | 1 << (31 - bit) if bit < 31 else 1
    return jnp.asarray(bits, jnp.uint32), 2.0 ** -(1 + np.arange(most, dtype=float))


@pytest.mark.parametrize(("shape", "missing"), [(1.1, 3.1e-4), (1.05, 0.0147), (2.0, 0.0)])
def test_heavy_tails_are_not_cut(shape, missing):
    """The mean of a Pareto time, stratum by stratum, for no sample sees its tail. 24 bits lose 22% of it at 1.1."""
    bits, probability = tail_strata(128)
    draws = np.asarray(jax.jit(jax.vmap(jax.vmap(exponential_of)))(bits), np.float64)
    mean = (probability * np.exp(draws / shape).mean(axis=1)).sum() * (shape - 1) / shape
    assert mean == pytest.approx(1 - missing, rel=2e-3)
    assert (draws > 0).all()
    # Each stratum is what it has to be: memoryless, a halving after the other.
    np.testing.assert_allclose(draws.min(axis=1), np.arange(128) * np.log(2), rtol=1e-5, atol=5e-3)
    np.testing.assert_allclose(draws.max(axis=1), np.arange(1, 129) * np.log(2), rtol=1e-5, atol=5e-3)


def test_lognormal_times_with_much_noise_have_their_mean():
    """A normal draw that ends at 5.4 deviations leaves a third of this mean out; the mean is that of z ~ N(5, 1)."""
    work = RANDOM_WORK["lognormal"](jnp.ones(1), jnp.float32(5.0))
    radii = jnp.asarray(np.random.default_rng(1).integers(0, 2**32, (1, 200_000)), jnp.uint32).astype(jnp.int32)
    logs = np.log(np.asarray(jax.jit(work.amounts)(jax.random.key(0), radii), np.float64))[0]
    assert np.abs(((logs + 12.5) / 5).mean()) < 5 / np.sqrt(200_000)
    assert ((logs + 12.5) / 5).std() == pytest.approx(1, rel=0.01)
    z = np.sqrt(2 * np.asarray(jax.vmap(exponential_of)(tail_strata(100)[0][:, 0])))
    assert z.max() > 11


def by_day(times, begins, values, period):
    """A clock of fixed work and one schedule for all, or one each."""
    schedule = lambda rows: jnp.broadcast_to(jnp.array(rows, jnp.float32), (len(times), len(begins)))
    speed = Speed(schedule(begins), schedule(values), jnp.float32(period))
    return Clock(work=FixedWork(jnp.array(times)), speed=speed, exchange=jnp.zeros(len(times)), window=4)


@pytest.mark.slow
def test_a_worker_without_end_beside_others():
    """It takes part in nothing, and changes nothing for those who work from 0 to 5 of every 8."""
    clock = by_day([1.0, 2.5, np.inf], [0.0, 5.0], [1.0, 0.0], 8.0)
    counted, _ = one_round(clock, rennala_rule(8, 3), clock.begin(jax.random.key(0)))
    assert (counted.counts.tolist(), float(counted.elapsed), bool(counted.complete)) == ([6, 2, 0], 9.0, True)
    _, there, arrivals = next_arrival(clock, begin_arrivals(clock, jax.random.key(0)))
    assert bool(there)
    assert arrivals.due.high.tolist() == [2, 2.5, np.inf]


@pytest.mark.parametrize("work", [1e16, 1e20, 3e25, 1e30])
def test_work_of_more_periods_than_there_are_digits(work):
    clock = by_day([1.0, work], [0.0, 5.0], [1.0, 0.0], 8.0)
    counted, _ = one_round(clock, synchronous_rule(2, 2), clock.begin(jax.random.key(0)))
    assert bool(counted.complete)
    assert float(counted.elapsed) == pytest.approx(np.float32(work) * 8 / 5, rel=1e-6)


@pytest.mark.parametrize(
    ("work", "silent", "number"), [(1000000.9, 1e6, 1), (100.00005, 100.0, 1), (1.0, 9.999995, 10)]
)
def test_work_that_nobody_does_any_more(work, silent, number):
    """A worker falls silent for ever just before it is done; a moment later it would have been."""
    for begin, done in ((silent, False), (np.nextafter(np.float32(work * number), np.float32(np.inf)), True)):
        clock = by_day([work], [0.0, begin], [1.0, 0.0], np.inf)
        counted, _ = one_round(clock, rennala_rule(number, 1), clock.begin(jax.random.key(0)))
        assert bool(counted.complete) == done


def test_no_time_that_is_drawn_is_nothing():
    for family, shape in (("gamma", 0.1), ("lognormal", 12.0)):
        work = RANDOM_WORK[family](jnp.ones(1), jnp.float32(shape))
        amounts = jax.jit(work.amounts)(jax.random.key(0), jnp.arange(40_000)[None, :])
        assert float(amounts.min()) >= 1e-30 * (1 - 1e-6)
        assert float(amounts.max()) <= 1e30 * (1 + 1e-6)


@pytest.mark.parametrize("ratio", [2e9, 1e25])
def test_a_round_of_more_gradients_than_can_be_counted(ratio):
    clock = Clock(work=FixedWork(jnp.array([1.0, ratio])), speed=None, exchange=jnp.ones(2))
    state = clock.begin(jax.random.key(0))
    counted, _ = one_round(clock, malenia_rule(2, 2), state)
    assert not bool(counted.complete)
    said = str(never_ends(clock, malenia_rule(2, 2), state, 1))
    assert said == "round 1 counts 1,073,741,824 gradients or more, too many; most of them are worker 1's"


def test_numbers_of_gradients_run_out_and_do_not_begin_again():
    clock = Clock(work=RANDOM_WORK["exponential"](jnp.ones(2), 1.0), speed=None, exchange=jnp.ones(2))
    state = clock.begin(jax.random.key(0))._replace(begun=jnp.array([0, 2**31 - 4], jnp.int32))
    one, state = one_round(clock, synchronous_rule(2, 2), state)
    other, _ = one_round(clock, synchronous_rule(8, 2), state)
    assert (bool(one.complete), bool(other.complete)) == (True, False)
    said = str(never_ends(clock, synchronous_rule(8, 2), state, 2))
    assert said == "round 2 cannot be played: worker 2 has begun as many gradients as an int32 can number"
    arrivals = begin_arrivals(clock, jax.random.key(0))._replace(begun=jnp.array([2**31 - 1] * 2, jnp.int32))
    assert not bool(next_arrival(clock, arrivals)[1])
    said = never_comes(clock, YoungerThan(jnp.int32(3)), (), arrivals, 7).reason
    assert said.startswith("cannot be played: worker 1 has begun as many")


@pytest.mark.parametrize("each", [7.0, 3.0, 5.5, 0.25])
def test_work_that_ends_with_a_period(each):
    """Whole multiples of what a period does: a quotient that is rounded up must not leave nothing to do."""
    speed = Speed(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, each / 2]]), jnp.float32(4.0))
    amounts = jnp.full((1, 200), jnp.float32(each))
    got = jax.jit(speed.finish)(pairs.widen(jnp.float32(0)), pairs.widen(jnp.zeros(1)), amounts)
    np.testing.assert_allclose(got.high[0], 4.0 * np.arange(1, 201), rtol=1e-5)


@pytest.mark.parametrize("rule", ["rennala", pytest.param("malenia", marks=pytest.mark.slow)])
def test_a_window_only_looks(rule):
    """A gradient that lies beyond a window is not drawn anew: that would favour short ones."""
    clocks = [
        Clock(
            work=RANDOM_WORK["pareto"](jnp.arange(1.0, 6.0), jnp.float32(1.5)),
            speed=None,
            exchange=jnp.ones(5),
            window=w,
        )
        for w in (1, 7)
    ]
    one, other = (jax.tree.leaves(play(clock, rule, 40)) for clock in clocks)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_random_times_of_many_workers():
    workers = 10**5
    config = WorkersConfig(count=workers, noise=Noise(family="exponential"))
    clock = make_clock(config, 1, workers)
    counted, _ = jax.jit(lambda s: play_round(clock, rennala_rule(workers, workers), s))(clock.begin(jax.random.key(0)))
    assert int(counted.counts.sum()) == workers
    assert bool(counted.complete)
    assert float(counted.elapsed) == pytest.approx(workers / (1 / np.sqrt(np.arange(1, workers + 1))).sum(), rel=0.02)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("outage", [False, True])
def test_a_worker_that_never_answers(rule, outage):
    """It stops neither Rennala nor m-synchronous; the others say that the round never ends."""
    times = jnp.array([1.0, 2.0, jnp.inf])
    speed = Speed(jnp.zeros((3, 1)), jnp.array([[1.0], [1.0], [0.0]]), jnp.float32(jnp.inf)) if outage else None
    work = FixedWork(jnp.array([1.0, 2.0, 1.0])) if outage else FixedWork(times)
    clock = Clock(work=work, speed=speed, exchange=jnp.ones(3))
    counted, _ = one_round(clock, RULES[rule](2, 3), clock.begin(jax.random.key(0)))
    assert bool(counted.complete) == (rule in ("rennala", "m_synchronous"))
    if bool(counted.complete):
        assert counted.counts.tolist() == ([2, 0, 0] if rule == "rennala" else [1, 1, 0])


def test_malenia_is_held_up_by_who_stops_too_early():
    """One gradient of a worker that then stops leaves exactly nothing for the nine others, who would go on for ever."""
    speed = Speed(jnp.array([[0.0, 1.5]] * 10), jnp.array([[1.0, 1.0]] * 9 + [[1.0, 0.0]]), jnp.float32(jnp.inf))
    clock = Clock(work=FixedWork(jnp.ones(10)), speed=speed, exchange=jnp.ones(10))
    counted, _ = one_round(clock, malenia_rule(100, 10), clock.begin(jax.random.key(0)))
    assert not bool(counted.complete)


def test_times_may_depend_on_the_number_of_parameters():
    law = PowerLaw(worker_exponent=0.5, parameter_exponent=0.25)
    clock = make_clock(WorkersConfig(count=4, communication_time=law), parameters=16, batch_size=2)
    np.testing.assert_allclose(clock.exchange, 2 * np.sqrt([1, 2, 3, 4]), rtol=1e-6)


def test_one_program_serves_other_times():
    clock = Clock(work=FixedWork(jnp.array([1.0, 2.0])), speed=None, exchange=jnp.ones(2))
    many = jax.vmap(lambda h: play_round(
        Clock(work=FixedWork(h), speed=None, exchange=jnp.ones(2)), rennala_rule(3, 2), clock.begin(jax.random.key(0))
    )[0].elapsed)  # fmt: skip
    np.testing.assert_allclose(many(jnp.array([[1.0, 2.0], [4.0, 2.0], [9.0, 1.0]])), [2, 4, 3])


@pytest.mark.parametrize("family", sorted(RANDOM_WORK))
def test_a_draw_does_not_make_an_answer_of_an_infinite_mean(family):
    work = RANDOM_WORK[family](jnp.array([1.0, jnp.inf]), jnp.float32(2.0))
    amounts = jax.jit(work.amounts)(jax.random.key(0), jnp.zeros((2, 5), jnp.int32))
    assert jnp.isfinite(amounts).tolist() == [[True] * 5, [False] * 5]
