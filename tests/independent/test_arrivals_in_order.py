"""Arrivals one at a time against exact rationals."""

import functools

import jax
import numpy as np
import pytest
from clock_cases import TIMES, changing_at_random, drawn, recorded
from compiled_rounds import QUICKLY, stacked_clocks, wide, workers_of
from exact_arrivals import play
from exact_rounds import exact

from nigt_jax.clocks import begin_arrivals, next_arrival
from nigt_jax.config import Noise

pytestmark = pytest.mark.usefixtures("compiled_quickly")
ARRIVALS, CASES = 40, 30


@functools.partial(jax.jit, compiler_options=QUICKLY)
def play_compiled(clock, seeds):
    """Worker, whether there is one, and time of every arrival; leading axes [cases, arrivals]."""

    def of_one(clock, seed):
        def step(state, _):
            worker, answered, state = next_arrival(clock, state)
            return state, (worker, answered, state.now)

        return jax.lax.scan(step, begin_arrivals(clock, jax.random.key(seed)), length=ARRIVALS)[1]

    return jax.vmap(of_one)(clock, seeds)


def compare(workers, finishes, rel=1e-12):
    """Plays cases and compares every one: who, exactly, and when, to a relative tolerance."""
    seeds = np.arange(len(workers), dtype=np.uint32)
    worker, answered, now = jax.device_get(play_compiled(stacked_clocks(workers), seeds))
    for k, own in enumerate(workers):
        wanted = list(play(ARRIVALS, finishes[k], exact(own.communication_time.values), own.topology))
        case, arrivals = f"case {k}, {own}", len(wanted)
        assert answered[k].tolist() == [True] * arrivals + [False] * (ARRIVALS - arrivals), case
        assert worker[k, :arrivals].tolist() == [i for i, _ in wanted], case
        times = wide(jax.tree.map(lambda x: x[k], now))[:arrivals]  # noqa: B023
        np.testing.assert_allclose(times, [float(t) for _, t in wanted], rtol=rel, err_msg=case)


def halves(rng):
    """Times of exchanges, none of which is 0."""
    return (rng.integers(1, 5, len(TIMES)) / 2).tolist()


@pytest.mark.parametrize("topology", ["parallel-links", "shared-link"])
def test_recorded_times(topology, tmp_path):
    rng = np.random.default_rng(0)
    cases = [recorded(rng, tmp_path / f"{k}.csv", halves(rng), topology=topology) for k in range(CASES)]
    compare(*zip(*cases, strict=True))


def test_random_times():
    workers = [workers_of(TIMES, [0.5] * 4, noise=Noise(family="lognormal", shape=0.5))] * CASES
    compare(workers, drawn(workers), rel=1e-6)


def test_speeds_that_change():
    rng = np.random.default_rng(2)
    cases = [changing_at_random(rng, halves(rng), topology="shared-link") for _ in range(CASES)]
    compare(*zip(*cases, strict=True), rel=1e-6)
