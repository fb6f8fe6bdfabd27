"""Theory against the clock, and noise against dice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nigt_jax.clocks import Clock, FixedWork, Ringleader, YoungerThan, make_clock
from nigt_jax.config import METHODS as SECTIONS
from nigt_jax.config import WorkersConfig, check_config
from nigt_jax.methods import METHODS
from nigt_jax.simulation import answer, batch_needed, direction_noise
from nigt_jax.simulation._arrivals import play_arrivals
from nigt_jax.simulation._compare import _BOUNDS, kinds
from nigt_jax.simulation._play import play
from nigt_jax.simulation._theory import arrival_bounds, ringleader_bounds, synchronous_bounds

TEN = check_config({"method": {"batch_size": 50}, "workers": {"count": 10}})
times = st.lists(st.floats(0.125, 128, width=32), min_size=10, max_size=10)


def collecting(clock, kind, batch_size, rounds=1):
    return play(clock, (kind.rounds,), 0, batch_size, rounds, seed=0)


@given(times=times, batch_size=st.integers(1, 300))
def test_no_round_is_outside_its_bounds(times, batch_size):
    clock = Clock(work=FixedWork(jnp.array(times, jnp.float32)), speed=None, exchange=jnp.zeros(10), window=10)
    for kind in kinds():
        if kind.rounds is None:
            continue
        size = kind.batch_size(batch_size, clock.workers)
        bounds = _BOUNDS[kind.rounds.rule](np.asarray(clock.work.mean), size)
        played = collecting(clock, kind, size)
        assert bounds.at_least * (1 - 1e-6) <= played.collecting[0] <= bounds.at_most * (1 + 1e-6)
        assert played.variance[0] * size <= 1 + 1e-6  # the least that a round of M promises


@pytest.mark.parametrize(
    ("workers", "rennala", "malenia"),
    [(10, (5.00, 6.93, 11.0), (6.0, 8.0, 12.6)), (100, (4.00, 4.69, 6.00), (10, 10, 10))],
)
def test_the_published_table(workers, rennala, malenia):
    clock = make_clock(WorkersConfig(count=workers), 1, 50)
    by_name = {kind.name: kind for kind in kinds()}
    for name, wanted in (("rennala", rennala), ("malenia", malenia)):
        found = [collecting(clock, by_name[name], m).collecting[0] for m in (20, 30, 50)]
        assert found == pytest.approx(wanted, abs=0.06)
    one_each = synchronous_bounds(np.asarray(clock.work.mean), workers)  # which is exact
    assert one_each.at_least == pytest.approx(workers**0.5, abs=0.01)


@pytest.mark.parametrize("topology", ["parallel-links", "shared-link"])
def test_arrivals_come_at_the_rate_of_theory(topology):
    clock = make_clock(WorkersConfig(count=10, topology=topology), 1, 50)
    played = play_arrivals(clock, YoungerThan(jnp.int32(10**9)), 5000, jax.random.key(0))
    bounds = arrival_bounds(np.asarray(clock.work.mean), np.asarray(clock.exchange), topology)
    gap = played.time[-1] / 5000
    assert bounds.at_least <= gap
    if topology == "parallel-links":  # where it is what happens
        assert gap == pytest.approx(bounds.at_least, rel=0.01)


@given(times=times)
def test_ringleader_makes_an_update_for_every_worker_in_twice_the_time_of_the_slowest(times):
    clock = Clock(work=FixedWork(jnp.array(times, jnp.float32)), speed=None, exchange=jnp.full(10, 0.5))
    played = play_arrivals(clock, Ringleader(), 400, jax.random.key(0))
    updates, slowest = played.time[played.updates], max(times) + 0.5
    bounds = ringleader_bounds(np.asarray(times), np.full(10, 0.5), "parallel-links")
    if updates.size:
        assert bounds.at_least * (1 - 1e-6) <= updates[-1] / updates.size
    rounds = np.append(0, updates[9::10])
    assert (np.diff(rounds) <= 2 * slowest * (1 + 1e-6)).all()
    assert played.delay[played.updates].max(initial=0) <= 18


def test_noise_of_a_direction():
    rng, weight, batch = np.random.default_rng(0), 0.2, 4
    directions = []
    d = np.zeros(20_000)  # as many runs at once
    for _ in range(60):
        d = (1 - weight) * d + weight * rng.normal(size=(batch, d.size)).mean(axis=0)
        directions.append(d)
    assert directions[-1].std() == pytest.approx(direction_noise(weight, batch), rel=0.03)


@given(weight=st.floats(1e-3, 1), batch=st.integers(1, 10**6))
def test_the_batch_that_a_noise_needs_is_the_least(weight, batch):
    assert batch_needed(weight, direction_noise(weight, batch)) == batch
    assert batch_needed(weight, 1.0) == 1


def test_who_has_momentum():
    """The second of two steps of the iterate depends on the first gradient, or not.

    Steps of the query point do not say it: without normalisation they are those of plain gradients, momentum or none.
    """
    for name, method in METHODS.items():
        if method.worker is not None:
            continue  # its server adds up what workers send
        section = SECTIONS[name](learning_rate_half_life=1.0)
        update = method.update(method.hyperparameters(section))
        beside = {} if method.last_step is None else {"change": jnp.zeros(2)}

        @jax.jit
        def second(first, update=update, beside=beside, model=method.model):
            params, iterates = jnp.zeros(2), []
            state = update.init(params)
            for gradient in (first, jnp.array([0.0, 1.0])):
                updates, state = update.update(gradient, state, params, **beside)
                params = optax.apply_updates(params, updates)
                iterates.append(model(state, params))
            return iterates[1] - iterates[0]

        apart = jnp.abs(second(jnp.array([1.0, 0.0])) - second(jnp.array([-1.0, 0.0]))).max()
        assert (section.newest_weight < 1) == bool(apart > 1e-3 * section.learning_rate), name


def test_the_answer_is_the_fastest_of_those_good_enough():
    _, found = answer(TEN, 3, target_noise=0.1)
    choices = {choice.method: choice for choice in found.choices}
    assert set(choices) == {name for name, section in SECTIONS.items() if not section.not_simulated}
    assert choices["rennala_nigt"].batch_size == 6  # 0.1 / 1.9 * 100, rounded up
    assert choices["rennala_pg"].batch_size == 100
    able = [choice for choice in found.choices if choice.round_time is not None]
    assert all(choice.noise <= 0.1 * (1 + 1e-6) for choice in able)
    assert choices[found.best].round_time == min(choice.round_time for choice in able)
    assert "momentum" in choices["afedpg"].why_not
    assert choices["afedpg"].noise > 0.1
    assert choices["ringmaster_agnostic_nigt"].why_not == "from update 2,551 on"  # 1 / sqrt(k) <= 0.02 / 1.01
    assert choices["asynchronous_pg"].why_not == "one gradient a step, no momentum"
    _, easy = answer(TEN, 3, target_noise=1.0)
    assert easy.best == "afedpg"
