"""Arrivals one at a time against a discrete-event simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from nigt_jax.clocks import Clock, FixedWork, Speed, begin_arrivals, next_arrival, to_float64
from nigt_jax.clocks._work import recorded_work

WORKERS, ARRIVALS = 4, 25
quarters = st.integers(1, 12).map(lambda k: k / 4)
lists = lambda elements, size: st.lists(elements, min_size=size, max_size=size)


@jax.jit
def play(clock):
    def step(state, _):
        worker, answered, state = next_arrival(clock, state)
        return state, (worker, answered, state.now)

    return jax.lax.scan(step, begin_arrivals(clock, jax.random.key(0)), length=ARRIVALS)[1]


def simulate(table, exchange, shared):
    """Who reaches the server when; the link is a resource that one message at a time occupies."""
    env, arrivals = simpy.Environment(), []
    link = simpy.PriorityResource(env) if shared else None

    def worker(i):
        k = 0
        while True:
            yield env.timeout(table[i][k % len(table[i])])
            k += 1
            if shared:
                with link.request(priority=(env.now, i)) as mine:
                    yield mine
                    yield env.timeout(exchange[i])
            else:
                yield env.timeout(exchange[i])
            arrivals.append((env.now, i))

    for i in range(len(table)):
        env.process(worker(i))
    while len(arrivals) < 4 * ARRIVALS:
        env.step()
    return arrivals


@given(lists(lists(quarters, 5), WORKERS), lists(st.integers(1, 6).map(lambda k: k / 4), WORKERS), st.booleans())
def test_equals_an_event_queue(table, exchange, shared):
    if shared:  # a simulator's queue at one instant is in the order of its own events, so there is no such instant
        table = (np.array(table) + 0.01 * np.sqrt(np.arange(2, 22)).reshape(WORKERS, 5)).astype(np.float32).tolist()
    clock = Clock(
        work=recorded_work(np.ravel(table), np.full(WORKERS, 5)),
        speed=None,
        exchange=jnp.array(exchange),
        topology="shared-link" if shared else "parallel-links",
    )
    workers, answered, now = play(clock)
    wanted = simulate(table, exchange, shared)
    if not shared:
        wanted = sorted(wanted)  # ties go to the lower worker
    assert answered.all()
    assert workers.tolist() == [i for _, i in wanted[:ARRIVALS]]
    times = np.asarray(now.high, np.float64) + np.asarray(now.low, np.float64)
    np.testing.assert_allclose(times, [t for t, _ in wanted[:ARRIVALS]], rtol=1e-12)


def test_the_link_bounds_the_rate():
    clock = Clock(
        work=FixedWork(jnp.array([1.0, 1.0, 1.0])), speed=None, exchange=jnp.full(3, 2.0), topology="shared-link"
    )
    _, _, now = play(clock)
    assert float(now.high[-1]) == 1 + 2 * ARRIVALS


@pytest.mark.parametrize("everyone", [False, True])
def test_workers_that_never_answer(everyone):
    values = [[0.0], [0.0 if everyone else 1.0]]
    clock = Clock(
        work=FixedWork(jnp.ones(2)),
        speed=Speed(jnp.zeros((2, 1)), jnp.array(values), jnp.float32(jnp.inf)),
        exchange=jnp.ones(2),
    )
    workers, answered, now = play(clock)
    assert bool(answered.all()) != everyone
    if not everyone:
        assert (workers == 1).all()
        assert float(now.high[-1]) == 2 * ARRIVALS


def test_time_does_not_stop():
    """After a million time units a quarter still counts."""
    clock = Clock(work=FixedWork(jnp.array([0.25])), speed=None, exchange=jnp.zeros(1))
    state = begin_arrivals(clock, jax.random.key(0))
    late = state._replace(due=state.due._replace(high=state.due.high + 2.0**26))
    _, _, late = next_arrival(clock, late)
    _, _, later = next_arrival(clock, late)
    assert to_float64(later.now) - to_float64(late.now) == 0.25
