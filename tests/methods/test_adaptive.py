"""The adaptive M: what it measures, without bias; what it chooses, against a search in float64; and in whole runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic

from nigt_jax.config import AdaptiveNigt, check_config
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS, Seen, after_round, chosen_batch_size, halves_show, nothing_seen
from nigt_jax.methods._adaptive import candidates, noise_scale
from nigt_jax.runs._totals import Totals, records_of
from nigt_jax.runtimes import SimulatedRuntime


def own(**settings):
    return METHODS["adaptive_nigt"].hyperparameters(AdaptiveNigt(**settings))


@pytest.mark.parametrize("number", [2, 5, 8])
def test_noise_and_signal_are_without_bias(number):
    """For gradients with a known mean and variance; what is biased, the squared norm of the mean, is far off."""
    mean, deviation = np.array([1.0, -2.0, 0.5]), np.array([3.0, 0.5, 2.0])
    draws = mean + deviation * np.random.default_rng(0).normal(size=(40_000, number, 3))
    half, whole = draws[:, ::2].mean(1), draws.mean(1)
    tree = lambda x: {"a": jnp.asarray(x[:, :1], jnp.float32), "b": jnp.asarray(x[:, 1:], jnp.float32)}
    show = jax.jit(jax.vmap(lambda h, m: halves_show(h, m, jnp.int32(number))))
    noise, signal = (np.asarray(x, np.float64) for x in show(tree(half), tree(whole)))
    for found, truth in ((noise, (deviation**2).sum()), (signal, (mean**2).sum())):
        assert abs(found.mean() - truth) < 4 * found.std() / np.sqrt(len(found))
    assert (whole**2).sum(1).mean() > (mean**2).sum() + 1


def shown(counts, elapsed, exchanged, noise=0.0, signal=1.0, broken=1.0):
    counts = jnp.asarray(counts, jnp.float32)
    scalars = (jnp.float32(x) for x in (noise, signal, elapsed, exchanged))
    return Seen(*scalars, counts, jnp.full(counts.shape, broken, jnp.float32), jnp.float32(1))


def gains_by_search(seen, settings):
    """The most that each M brings in a unit of time, over many times, in float64."""
    counts, broken = np.asarray(seen.counts, np.float64), np.asarray(seen.broken, np.float64)
    rate = (counts + broken / 2) / float(seen.elapsed)
    eta = 1 - settings.momentum
    noise = float(seen.noise) / float(seen.signal) * eta / (2 - eta)
    found = {}
    for t in np.geomspace(1 / rate.max(), 4 * settings.max_batch_size / rate.sum(), 20_000):
        size = sum(r * t - b / 2 for r, b in zip(rate, broken, strict=True) if r * t >= 1)
        if settings.min_batch_size <= size <= settings.max_batch_size:
            gain = 1 / np.sqrt(1 + noise / size) / (t + float(seen.exchanged))
            found[round(size)] = max(gain, found.get(round(size), 0.0))
    return found


@pytest.mark.parametrize("exchanged", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("noise", [1.0, 300.0, 1e5])
def test_chooses_what_brings_most_in_a_unit_of_time(exchanged, noise):
    settings = AdaptiveNigt(momentum=0.5)
    seen = shown([8, 5, 4, 2, 1], 8.0, exchanged, noise)
    chosen = jax.jit(chosen_batch_size)(seen, own(momentum=0.5))
    gains = gains_by_search(seen, settings)
    assert gains[int(chosen)] > 0.97 * max(gains.values())
    assert min(gains.values()) < 0.9 * max(gains.values())


def test_more_noise_and_slower_exchanges_take_more():
    choose = lambda exchanged, noise: int(chosen_batch_size(shown([10, 8, 4, 2], 10.0, exchanged, noise), own()))
    assert choose(1.0, 10.0) < choose(1.0, 1e4) <= choose(20.0, 1e4) <= 100
    assert choose(20.0, 10.0) < choose(20.0, 1e4)
    assert choose(1e6, 1e6) == 100


def test_no_noise_takes_the_least():
    assert int(chosen_batch_size(shown([9, 1, 1, 1], 10.0, 0.0), own(min_batch_size=3))) == 3


def test_workers_of_one_speed_wait_for_each_other():
    """A smaller round takes as long, for all come at once."""
    seen = shown([2, 2, 2, 2], 2.0, 0.0, noise=10.0, broken=0.0)
    times, sizes = candidates(seen, jnp.int32(100))
    assert float(times.min()) == pytest.approx(1)
    assert int(chosen_batch_size(seen, own())) == 4
    assert float(sizes[0]) == pytest.approx(4)


def test_running_means_forget():
    settings, seen = own(memory=4), nothing_seen(4)
    for noise in [1.0] * 30 + [50.0] * 30:
        seen = after_round(seen, settings, shown([9, 5, 2, 1], 10.0, 1.0, noise))
    assert float(noise_scale(seen)) == pytest.approx(50, rel=1e-2)


def config(devices=1, **settings):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"name": "adaptive_nigt", "batch_size": 20, "learning_rate": 0.05, **settings},
            "workers": {"count": 5, "communication_time": {"scale": 0.01}},
            "training": {"devices": devices, "chunk": 10, "iterations": 40},
            "evaluation": {"episodes": 64},
        }
    )


@pytest.mark.slow
def test_a_whole_run_climbs_and_takes_what_it_chose():
    runtime = SimulatedRuntime(config(), Quadratic())
    state = runtime.initial_state()
    before, taken = runtime.evaluate(state)[0]["return_mean"], []
    for _ in range(4):
        seen = jax.tree.map(lambda x: x[0], jax.device_get(state.seen))
        state, metrics = runtime.run(state, 10)
        if seen.rounds > 0:
            assert int(chosen_batch_size(seen, own(batch_size=20))) == metrics.gradients[0, 0]
        taken.extend(metrics.gradients[0].tolist())
        assert (metrics.noise_scale > 0).all()
        column = jax.tree.map(lambda x: x[:, 0], metrics)
        records, _ = records_of(column, 0, Totals(), 1.0, runtime.config.method, runtime.parameters)
        assert [record["noise_scale"] for record in records] == metrics.noise_scale[:, 0].tolist()
    assert runtime.evaluate(state)[0]["return_mean"] > before + 0.1
    assert taken[0] == 20
    assert max(taken[1:]) < 20  # exchanges cost next to nothing


@pytest.mark.slow
def test_bounds_that_agree_are_rennala_nigt():
    """With one allowed M the rounds, and the iterates, are those of Rennala."""
    runs = []
    for name, more in (("rennala_nigt", {}), ("adaptive_nigt", {"min_batch_size": 20, "max_batch_size": 20})):
        runtime = SimulatedRuntime(config(name=name, **more), Quadratic())
        state, metrics = runtime.run(runtime.initial_state(), 10)
        runs.append((jax.device_get(runtime.unplaced(state).server.sent), metrics))
    (plain, one), (adaptive, other) = runs
    np.testing.assert_array_equal(one.time.high, other.time.high)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(adaptive), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_devices_do_not_matter():
    runs = []
    for devices in (1, 4):
        runtime = SimulatedRuntime(config(devices), Quadratic())
        _, metrics = runtime.run(runtime.initial_state(), 10)
        runs.append(metrics.gradients)
    np.testing.assert_array_equal(*runs)


def test_a_first_m_outside_its_bounds_is_refused():
    with pytest.raises(UserError, match=r"allowed: method\.min_batch_size to method\.max_batch_size, 2 to 10"):
        config(max_batch_size=10)
