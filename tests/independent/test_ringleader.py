"""Ringleader's tables: who updates when, of which gradients and how old, against the story that the paper tells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY
from told_ringleader import Leader

from nigt_jax.clocks import Ringleader
from nigt_jax.methods import MeansOfWorkers

SIZE = 3


@functools.partial(jax.jit, static_argnames="workers", compiler_options=QUICKLY)
def by_the_package(workers, who, gradients):
    """The fate of every arrival and the mean of the table that it is in, with the delays that follow."""
    rule, table = Ringleader(), MeansOfWorkers()

    def step(carry, arrival):
        kept, sums, sent_at, updates = carry
        worker, gradient = arrival
        fate, kept = rule.take(kept, worker, sent_at[worker], updates)
        sums, mean = table.put(sums, fate.entry, worker, {"x": gradient}, fate.absorbed)
        updates = updates + fate.updates.astype(jnp.int32)
        return (kept, sums, sent_at.at[worker].set(updates), updates), (fate, mean["x"])

    zero = jnp.zeros([], jnp.int32)
    begin = rule.begin(workers), table.begin({"x": jnp.zeros(SIZE)}, workers), jnp.zeros(workers, jnp.int32), zero
    return jax.lax.scan(step, begin, (who, gradients))[1]


def check(workers, who):
    """The number of updates and the delays of a row of arrivals, which are as they should be."""
    gradients = np.random.default_rng(1).normal(size=(len(who), SIZE)).astype(np.float32)
    fates, means = jax.device_get(by_the_package(workers, np.asarray(who, np.int32), gradients))
    leader, sent_at, updates, delays = Leader(workers), [0] * workers, 0, []
    for place, worker in enumerate(who):
        table = leader.arrive(worker, (np.asarray(gradients[place], np.float64), sent_at[worker]))
        assert bool(fates.absorbed[place]), place
        assert int(fates.serial[place]) == place
        assert bool(fates.updates[place]) == (table is not None), place
        if table is None:
            assert int(fates.delay[place]) == updates - sent_at[worker], place
        else:
            mean = np.mean([np.mean([gradient for gradient, _ in entry], axis=0) for entry in table], axis=0)
            np.testing.assert_allclose(means[place], mean, rtol=2e-5, atol=2e-6)
            delays.append(updates - min(at for entry in table for _, at in entry))
            assert int(fates.delay[place]) == delays[-1], place
            variance = sum(1 / len(entry) for entry in table) / workers**2
            assert fates.worth[place] == pytest.approx(1 / variance / workers, rel=1e-5)
            updates += 1
        sent_at[worker] = updates
    return updates, delays


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_equals_the_story(workers):
    rng = np.random.default_rng(workers)
    for fast in (1.0, 10.0):  # of the first worker, against each of the others
        share = np.array([fast, *[1.0] * (workers - 1)])
        updates, delays = check(workers, rng.choice(workers, 300, p=share / share.sum()))
        assert updates > 10
        assert max(delays) <= 2 * workers - 2
        assert max(delays[:workers]) <= workers - 1


def test_the_oldest_gradient_there_can_be():
    """Worker 0 updates first in one round, has its next gradient in the new table at once, and updates last in it."""
    one, two = [1, 2, 0, 0, 1, 2], [1, 2, 1, 0]
    updates, delays = check(3, one + two)
    assert updates == 6
    assert delays == [0, 1, 2, 2, 3, 4]


def test_who_is_fast_fills_its_entry_while_others_are_missing():
    updates, delays = check(2, [0, 0, 0, 1, 0, 0, 0, 1, 1, 0])
    # Worker 1 completes the first table; 0 updates, and has two in the next one, which 1 completes, before 1 has one in
    # the third.
    assert updates == 4
    assert delays == [0, 1, 1, 2]


def test_for_whom_it_waits():
    rule, workers = Ringleader(), 3
    waits_for = lambda kept, *silent: np.flatnonzero(
        rule.waits_for(kept, jnp.isin(jnp.arange(workers), jnp.array(silent or [-1])))
    ).tolist()
    number = lambda k: jnp.asarray(k, jnp.int32)
    kept = rule.begin(workers)
    assert waits_for(kept) == []
    assert waits_for(kept, 1) == [1]
    _, kept = rule.take(kept, number(1), number(0), number(0))
    assert waits_for(kept, 1) == []  # it has delivered
    assert waits_for(kept, 1, 2) == [2]
    for worker in (0, 2):  # phase 2 begins with worker 2
        _, kept = rule.take(kept, number(worker), number(0), number(0))
    assert waits_for(kept, 0) == []  # worker 1 comes before that shows
    assert waits_for(kept, 0, 1, 2) == waits_for(kept, 0, 1) == [0, 1]
    _, kept = rule.take(kept, number(1), number(0), number(1))
    assert waits_for(kept, 1, 2) == []
    assert waits_for(kept, 0) == [0]
