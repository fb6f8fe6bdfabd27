"""FedPG-BR: its filter, the law of its steps, and whole runs; in float64 they are in test_filtered_rounds.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic

from nigt_jax.clocks import to_float64
from nigt_jax.config import FedpgBr, check_config
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS
from nigt_jax.methods._fedpg_br import direction, plan, trusted_mean
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.transforms import robust_mean

WORKERS, B = 8, 4
DRAW = np.random.default_rng(3)


def hyperparameters(**settings):
    return METHODS["fedpg_br"].hyperparameters(FedpgBr(**settings))


def filtered(means, sigma, **settings):
    """What the server makes of workers' means of 4 episodes, two a gradient; of every row the same."""
    own = hyperparameters(sigma=sigma, trajectories_per_gradient=2, **settings)
    tx = robust_mean("workers", trusted_mean(own), "gradients")
    sums, counts = jnp.asarray(2 * means, jnp.float32), jnp.full(len(means), B // 2)
    rows = jax.jit(jax.vmap(lambda x, n: tx.update(x, tx.init(x), count=n)[0], axis_name="workers"))(sums, counts)
    np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    return np.asarray(rows[0])


def radius(sigma, delta=0.6):
    return 2 * sigma * np.sqrt(2 * np.log(2 * WORKERS / delta) / B)


def test_identical_means_are_all_kept():
    """Exactly: in numbers of which float32 has the sums."""
    same = np.broadcast_to(np.round(DRAW.normal(size=5) * 64) / 64, (WORKERS, 5))
    np.testing.assert_array_equal(filtered(same, sigma=1e-3), same[0])


def test_who_is_farther_than_the_radius_from_a_tight_majority_is_dropped():
    """And no other; the radius is the source's, of means of four episodes of eight workers."""
    means = np.zeros((WORKERS, 3))
    for share, kept in ((0.99, True), (1.01, False)):
        means[6, 1] = share * radius(0.25)
        wanted = means.mean(0) if kept else np.zeros(3)
        np.testing.assert_allclose(filtered(means, sigma=0.25), wanted, atol=1e-6)


def test_where_too_few_are_kept_the_distance_is_twice_sigma():
    """Six of eight are within the radius; with two that may be dishonest that is enough, with one it is not."""
    means = np.zeros((WORKERS, 1))
    means[5:, 0] = 0.55, 1.5, 3.0
    assert 2 * 0.25 < 0.55 < radius(0.25, delta=0.99)
    enough, few = (filtered(means, sigma=0.25, delta=0.99, tolerated=share) for share in (2 / 8, 1 / 8))
    np.testing.assert_allclose(enough, 0.55 / 6, atol=1e-6)
    np.testing.assert_allclose(few, 0, atol=1e-6)


@pytest.mark.parametrize(("workers", "dishonest"), [(12, 5), (25, 10)])
def test_as_many_may_be_dropped_as_are_tolerated(workers, dishonest):
    """(1 - 5/12) 12 is more than 7 in float32; then seven honest workers would not be enough."""
    means = np.zeros((workers, 1))
    means[:dishonest] = 500.0
    means[-1] = 35.0
    sigma = 40.0 / np.sqrt(2 * np.log(2 * workers / 0.6) / B) / 2  # the radius is 40
    assert 2 * sigma < 35
    found = filtered(means, sigma=sigma, tolerated=dishonest / workers)
    np.testing.assert_allclose(found, 35 / (workers - dishonest), rtol=1e-6)


def test_the_direction():
    """Where nobody is trusted it is the server's own gradient."""
    here, start, heard = (
        {"a": jnp.asarray(x[:1]), "b": jnp.asarray(x[1:])} for x in DRAW.normal(size=(3, 4)).astype("f4")
    )
    for name in "ab":
        wanted = np.asarray(here[name]) - np.asarray(start[name]) + np.asarray(heard[name])
        np.testing.assert_allclose(direction(here, start, heard)[name], wanted, rtol=1e-6)
        nothing = jax.tree.map(jnp.zeros_like, heard)
        np.testing.assert_array_equal(direction(here, start, nothing)[name], here[name])


@pytest.mark.parametrize(("b", "episodes"), [(4, 16), (8, 2)])
def test_the_number_of_steps_is_geometric(b, episodes):
    """On 1, 2, ..., with a success of b / (B + b); the largest number takes the rest."""
    own, number, most = hyperparameters(server_batch=b, max_inner=12), 40_000, 12
    keys = jax.random.split(jax.random.key(1), number)
    found = np.asarray(jax.jit(jax.vmap(lambda key: plan(own, key, jnp.int32(episodes)).steps))(keys))
    success, n = b / (b + episodes), np.arange(1, most + 1)
    law = success * (1 - success) ** (n - 1)
    law[-1] = 1 - law[:-1].sum()
    counts = np.bincount(found, minlength=most + 1)
    assert counts[0] == 0
    assert counts.size == most + 1
    spread = np.sqrt(number * law * (1 - law)) + 1e-9
    assert (np.abs(counts[1:] - number * law) < 4.5 * spread + 1).all()
    without_a_limit = hyperparameters(server_batch=b, max_inner=1_000_000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: plan(without_a_limit, key, jnp.int32(episodes)).steps))(keys))
    assert abs(drawn.mean() - 1 / success) < 4.5 * np.sqrt(1 - success) / success / np.sqrt(number)


def config(name="fedpg_br", devices=1, byzantine=(), estimator="return_to_go", **settings):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": estimator},
            "method": {"name": name, "batch_size": 20, "learning_rate": 0.02, **settings},
            "workers": {"count": 5, "compute_time": {"values": [1, 1, 2, 3, 5]}, "byzantine": list(byzantine)},
            "training": {"devices": devices, "chunk": 5, "iterations": 20},
            "evaluation": {"episodes": 64},
        }
    )


def runtime_of(**settings):
    return SimulatedRuntime(config(**settings), Quadratic())


def parameters(runtime, state):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.device_get(runtime.unplaced(state).server.sent))])


EVERYONE = {"sigma": 1e4}


@pytest.mark.slow
def test_one_step_with_everyone_is_plain_ascent():
    """There the server's episodes say nothing, for it is where the workers were; but they take time, and count."""
    plain, own = runtime_of(name="synchronous_pg"), runtime_of(max_inner=1, server_time=0.3, **EVERYONE)
    (after, metrics), (found, served) = (runtime.run(runtime.initial_state(), 5) for runtime in (plain, own))
    np.testing.assert_allclose(parameters(own, found), parameters(plain, after), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(served.env_steps - metrics.env_steps, np.full((5, 1), 4 * 4))
    taken = to_float64(served.time)[:, 0] - to_float64(metrics.time)[:, 0]
    np.testing.assert_allclose(taken, 4 * np.float64(np.float32(0.3)) * np.arange(1, 6), rtol=1e-11)
    again = own.run(own.run(own.initial_state(), 3)[0], 2)[0]
    np.testing.assert_array_equal(parameters(own, again), parameters(own, found))


@pytest.mark.slow
def test_the_first_step_stands_whatever_the_drift():
    """Where no weight may differ from 1, every round ends with the step after it, whose episodes are played."""
    runtime = runtime_of(drift=1e-6, server_time=1.0, **EVERYONE)
    state, metrics = runtime.run(runtime.initial_state(), 5)
    one = runtime_of(max_inner=1, server_time=1.0, **EVERYONE)
    after, single = one.run(one.initial_state(), 5)
    np.testing.assert_allclose(parameters(runtime, state), parameters(one, after), rtol=1e-4, atol=1e-6)
    extra = np.diff(to_float64(metrics.time)[:, 0] - to_float64(single.time)[:, 0], prepend=0)
    assert set(np.round(extra, 6)) == {0.0, 4.0}


@pytest.mark.slow
def test_it_learns_where_a_mean_is_led_away():
    liar = {"byzantine": [{"workers": [5], "attack": "sign_flip", "scale": 100}]}
    gains = []
    for settings in ({"sigma": 20.0, "drift": 0.5}, {"name": "synchronous_robust_nigt", "rule": "mean"}):
        runtime = runtime_of(**liar, **settings)
        state = runtime.initial_state()
        before = runtime.evaluate(state)[0]["return_mean"]
        for _ in range(4):
            state, _ = runtime.run(state, 5)
        gains.append(runtime.evaluate(state)[0]["return_mean"] - before)
    assert gains[0] > 0.1
    assert gains[1] < 0


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["leave_one_out", "gae"])
def test_devices_do_not_matter(estimator):
    """Four of them share six episodes of the server; two places are empty."""
    runs = []
    for devices in (1, 4):
        settings = {"server_batch": 6, "sigma": 20.0, "estimator": estimator}
        runtime = runtime_of(devices=devices, byzantine=[{"workers": [2]}], **settings)
        state, metrics = runtime.run(runtime.initial_state(), 5)
        runs.append((parameters(runtime, state), metrics))
    (one, metrics), (four, others) = runs
    np.testing.assert_allclose(one, four, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(metrics.env_steps, others.env_steps)
    np.testing.assert_array_equal(to_float64(metrics.time), to_float64(others.time))
    assert len(np.unique(metrics.env_steps)) > 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"server_batch": 1, "estimator": "leave_one_out"}, "allowed: method.server_batch of at least 2"),
        ({"batch_size": 5, "estimator": "leave_one_out"}, "allowed: method.trajectories_per_gradient of at least 2"),
        ({"max_inner": 1_000_000, "server_batch": 2000}, "method.max_inner \\* method.server_batch"),
        ({"delta": 1.0}, "method.delta"),
        ({"tolerated": 0.5}, "method.tolerated"),
    ],
)
def test_mistakes(settings, says):
    with pytest.raises(UserError, match=says):
        config(**settings)
