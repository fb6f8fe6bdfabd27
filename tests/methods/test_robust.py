"""Robust methods and dishonest workers, in whole runs; the rules themselves are in transforms/test_robust_mean.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, linear_policy, play

from nigt_jax.config import ATTACKS, Byzantine, WorkersConfig, check_config
from nigt_jax.errors import UserError
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training._attacks import falsified_messages, falsified_rewards, make_attacks

WORKERS = 5


def config(name, devices=1, byzantine=(), **settings):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"name": name, "batch_size": 20, "learning_rate": 0.05, "momentum": 0.5, **settings},
            "workers": {"count": WORKERS, "compute_time": {"values": [1, 1, 2, 3, 5]}, "byzantine": list(byzantine)},
            "training": {"devices": devices, "chunk": 5, "iterations": 20},
            "evaluation": {"episodes": 64},
        }
    )


def run(*args, rounds=5, **settings):
    """The iterate's parameters after some rounds, the return before and after, and the metrics."""
    runtime = SimulatedRuntime(config(*args, **settings), Quadratic())
    state = runtime.initial_state()
    before = runtime.evaluate(state)[0]["return_mean"]
    for _ in range(rounds // 5):
        state, metrics = runtime.run(state, 5)
    after = runtime.evaluate(state)[0]["return_mean"]
    return jax.device_get(runtime.unplaced(state).server.sent), before, after, metrics


def assert_close(one, other, **tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 1e-3, "atol": 1e-4} | tolerance))


@pytest.mark.slow
def test_the_mean_of_gradients_is_rennala_nigt():
    plain, *_, metrics = run("rennala_nigt")
    robust, *_, own = run("robust_nigt", rule="mean", voices="gradients")
    assert_close(plain, robust)
    np.testing.assert_array_equal(metrics.gradients, own.gradients)
    np.testing.assert_array_equal(metrics.time.high, own.time.high)


@pytest.mark.slow
def test_the_mean_of_workers_is_not():
    """A fast worker counts no more than a slow one."""
    plain, *_ = run("rennala_nigt")
    robust, *_ = run("robust_nigt", rule="mean", voices="workers")
    assert max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (plain, robust)), strict=True)) > 1e-3


@pytest.mark.parametrize("rule", ["coordinate_median", pytest.param("multi_krum", marks=pytest.mark.slow)])
def test_a_defence_holds_where_a_mean_is_led_away(rule):
    """The slowest worker of five sends the opposite, a hundred times as large."""
    liar = [{"workers": [5], "attack": "sign_flip", "scale": 100}]
    settings = {"rounds": 20, "byzantine": liar}
    _, before, defended, _ = run("synchronous_robust_nigt", rule=rule, **settings)
    _, _, led_away, _ = run("synchronous_robust_nigt", rule="mean", **settings)
    assert defended > before + 0.1
    assert led_away < before


def test_what_is_no_number_is_not_heard():
    """The run goes on as if that worker were not there."""
    garbage = [{"workers": [2], "attack": "not_finite"}]
    params, before, after, metrics = run("synchronous_robust_nigt", rule="trimmed_mean", rounds=20, byzantine=garbage)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    assert after > before + 0.1
    assert (metrics.uploads == WORKERS).all()


def test_opposite_rewards_are_an_opposite_gradient():
    runs = [
        run("synchronous_robust_nigt", rule="mean", byzantine=[{"workers": [1, 4], "attack": attack, "scale": 1.0}])[0]
        for attack in ("reward_flip", "sign_flip")
    ]
    assert_close(*runs)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["collusion", "noise", "random_reward"])
def test_devices_do_not_matter(attack):
    runs = [
        run("robust_nigt", devices, rule="geometric_median", byzantine=[{"workers": [1, 3], "attack": attack}])[0]
        for devices in (1, 4)
    ]
    assert_close(*runs)


def falsified(attack, scale=None, keys=1):
    """Messages of five workers, before and after, for every key; the second and fifth lie, the fourth is silent."""
    settings = Byzantine(workers=(2, 5), attack=attack, scale=scale)
    attacks = make_attacks(WorkersConfig(count=WORKERS, byzantine=(settings,)))
    draw = np.random.default_rng(1).normal(size=(WORKERS, 3))
    message = {"a": jnp.asarray(draw[:, :1], jnp.float32), "b": jnp.asarray(draw[:, 1:], jnp.float32)}
    sends = jnp.array([True, True, True, False, True])
    sent = lambda key: falsified_messages(attacks, key, message, sends, jnp.arange(WORKERS), None)
    found = jax.jit(jax.vmap(sent))(jax.random.split(jax.random.key(0), keys))
    return draw, np.concatenate([found["a"], found["b"]], axis=2)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_honest_send_what_they_have(attack):
    draw, (found,) = falsified(attack)
    np.testing.assert_allclose(found[[0, 2, 3]], draw[[0, 2, 3]], rtol=1e-6)


def test_messages_of_the_dishonest():
    draw, (found,) = falsified("sign_flip", 4.0)
    np.testing.assert_allclose(found[[1, 4]], -4 * draw[[1, 4]], rtol=1e-6)
    assert (falsified("zero")[1][:, [1, 4]] == 0).all()
    assert np.isnan(falsified("not_finite")[1][:, [1, 4]]).all()
    _, draws = falsified("noise", 2.0, keys=40)
    for worker in (1, 4):
        width = np.ptp(draw[worker])
        assert 1.7 * width < np.abs(draws[:, worker]).max() <= 2 * width
        assert np.abs(draws[:, worker].mean(0)).max() < width


def test_those_who_collude_agree():
    """On a point as far from the honest mean as the scale says; who is silent is not honest company."""
    draw, (found,) = falsified("collusion", 1.5)
    honest = draw[[0, 2]]
    np.testing.assert_allclose(found[1], found[4], rtol=1e-6)
    away = np.linalg.norm(found[1] - honest.mean(0))
    np.testing.assert_allclose(away, 1.5 * np.linalg.norm(honest[0] - honest[1]), rtol=1e-5)


def test_rewards_of_the_dishonest():
    policy = linear_policy()
    params, normalizer = policy.init(jax.random.key(0)), policy.init_normalizer()
    keys, everyone = jax.random.split(jax.random.key(2), 6), jnp.ones(6, bool)
    episodes = play(EndsWhenGood(), policy, params, normalizer, keys, everyone, 5, (2,))
    own = episodes.__class__(**{**vars(episodes), "groups": 3, "charge": jnp.zeros(3)})
    flips = Byzantine(workers=(2,), attack="reward_flip", scale=2.0), Byzantine(workers=(3,), attack="random_reward")
    attacks = make_attacks(WorkersConfig(count=3, byzantine=flips))
    falsify = jax.jit(falsified_rewards)
    found = np.asarray(falsify(attacks, jax.random.key(1), own, jnp.arange(3)).earned())
    honest, alive = np.asarray(own.earned()), np.asarray(own.alive())
    np.testing.assert_array_equal(found[:, :2], honest[:, :2])
    np.testing.assert_allclose(found[:, 2:4], -2 * honest[:, 2:4], rtol=1e-6)
    drawn = found[:, 4:]
    assert (drawn[~alive[:, 4:]] == 0).all()
    assert np.abs(drawn).max() <= 1
    assert len(np.unique(drawn[alive[:, 4:]])) == alive[:, 4:].sum() > 2


@pytest.mark.parametrize(
    ("name", "byzantine", "says"),
    [
        ("rennala_nigt", [{"workers": [1]}], "hears no worker by itself"),
        ("robust_nigt", [{"workers": [6]}], "got worker 6, allowed: 1 to 5"),
        ("robust_nigt", [{"workers": [1]}, {"workers": [1], "attack": "zero"}], "got worker 1 twice"),
        ("robust_nigt", [{"workers": [1], "attack": "bribe"}], "attack"),
    ],
)
def test_mistakes(name, byzantine, says):
    with pytest.raises(UserError, match=says):
        config(name, byzantine=byzantine)
