"""Gradient tracking in simulated worlds: weighted gradients against closed forms, worlds of agents' own, whole runs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic, linear_policy

from nigt_jax.config.systems import BraxTask, NetworkConfig, ReductionConfig, SvrpgTrackingConfig, agents
from nigt_jax.estimators import importance_weights
from nigt_jax.related.svrpg_tracking import SvrpgTracking, _brax, coefficients, density_weights
from nigt_jax.related.svrpg_tracking._brax import Brax

HORIZON, GAMMA, PLACES = 3, 0.9, 2000
HERE = {"w": np.array([-0.3, -0.5]), "b": np.array([0.2, 0.1]), "c": np.array([0.1, 0.3])}
THERE = {"w": np.array([-0.4, -0.3]), "b": np.array([0.0, 0.2]), "c": np.array([0.2, 0.2])}


def params(values):
    return {"params": {name: jnp.asarray(x, jnp.float32) for name, x in values.items()}}


def task(count=2, environments=(), baseline="leave_one_out", lanes=64, discount=GAMMA):
    section = BraxTask(horizon=HORIZON, discount=discount, baseline=baseline, evaluation_episodes=PLACES)
    workers = SvrpgTrackingConfig(
        task=section, workers={"count": count, "environments": environments, "compute_time": {"worker_exponent": 0}}
    ).workers
    policy = linear_policy()._replace(observation_size=1 + bool(environments))
    return Brax(section, workers, lanes, environment=Quadratic(), policy=policy)


def slope_there(agent):
    """Of the discounted return, from its closed form."""

    def expected(own):
        return sum(GAMMA**t * reward for t, reward in enumerate(Quadratic.rewards([own] * HORIZON, HORIZON)))

    return jax.grad(expected)({name: jnp.float32(x[agent]) for name, x in THERE.items()})


@pytest.mark.parametrize("baseline", ["leave_one_out", pytest.param("none", marks=pytest.mark.slow)])
def test_what_episodes_say_of_another_policy_is_without_bias(baseline):
    """The mean of twenty batches, within 5 of its standard errors; without weights it is far away."""
    own, there = task(baseline=baseline, lanes=2 * PLACES), jnp.ones(PLACES, bool)

    @jax.jit
    def gradients(key):
        episodes = own.play(params(HERE), key, there)
        weights, *_ = density_weights(own.log_ratio(params(HERE), params(THERE), episodes), True, None)

        def weighted(weights):
            factors = coefficients(own.rewards(episodes), weights, there, own.discount, own.baseline)
            return own.score_sum(params(THERE), episodes, factors / PLACES)["params"]

        return weighted(weights), weighted(jnp.ones_like(weights))

    batches = [gradients(jax.random.key(seed)) for seed in range(20)]
    worst = np.zeros(2)
    for agent, name in itertools.product(range(2), "wbc"):
        found = np.array([[gradient[name][agent] for gradient in batch] for batch in batches])
        deviations = np.abs(found.mean(0) - float(slope_there(agent)[name])) / (found.std(0, ddof=1) / np.sqrt(20))
        worst = np.maximum(worst, deviations)
    assert worst[0] < 5
    assert worst[1] > 15


def test_weights_of_whole_episodes_are_the_library_s():
    own, there = task(), jnp.arange(40) < 30
    episodes = jax.jit(own.play)(params(HERE), jax.random.key(0), there)
    ratio = jax.jit(own.log_ratio)(params(HERE), params(THERE), episodes)
    weights, *_ = density_weights(ratio, False, None)
    statistics = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape)), linear_policy().init_normalizer())
    wanted = importance_weights(linear_policy(), params(HERE), params(THERE), statistics, episodes)
    np.testing.assert_allclose(weights[0].reshape(-1), wanted, rtol=1e-5)
    assert weights.max() > 1.2
    assert (np.asarray(weights)[:, :, 30:] == 1).all()


def test_agents_play_in_their_own_world_by_their_own_policy():
    """Agent 2 sees what is there with the other sign, and a bit that tells; places that are empty are not played."""
    own, there = task(environments=[{"workers": [2], "flip_observation": True}]), jnp.arange(10) < 7
    episodes = jax.jit(own.play)(params(HERE), jax.random.key(0), there)
    assert own.steps(episodes) == 2 * 7 * HORIZON
    lengths = np.asarray(episodes.lengths).reshape(2, 10)
    assert (lengths[:, :7] == HORIZON).all()
    assert (lengths[:, 7:] == 0).all()
    row, lane = (np.asarray(x).reshape(2, 10)[:, :7] for x in (episodes.outcomes.row, episodes.outcomes.lane))
    first = np.asarray(episodes.observation)[row, lane]
    np.testing.assert_array_equal(first[:, :, 1], np.repeat([[0.0], [1.0]], 7, axis=1))
    assert (first[0, :, 0] > 0).all()
    assert (first[1, :, 0] < 0).all()
    rewards = np.asarray(own.rewards(episodes))
    sample = np.asarray(episodes.sample)[row, lane][:, :, 0]
    at = np.stack([first[0, :, 0], -first[1, :, 0]]) + sample
    np.testing.assert_allclose(rewards[0, :, :7], -(at**2), rtol=1e-4, atol=1e-6)
    assert (rewards[:, :, 7:] == 0).all()


def test_records_tell_how_many_episodes_broke():
    own, there = task(), jnp.arange(100) < 50
    episodes = own.play(params(HERE), jax.random.key(0), there)
    assert own.told(episodes) == {"diverged": 0.0, "diverged_fraction": 0.0}
    broken = dataclasses.replace(episodes, outcomes=episodes.outcomes._replace(diverged=jnp.arange(200) < 25))
    assert own.told(broken) == {"diverged": 25.0, "diverged_fraction": 0.25}


def test_evaluations_are_of_the_mean_parameters_in_every_world():
    own = task(environments=[{"workers": [2], "flip_observation": True}])
    one = {"params": {name: jnp.float32(x[0]) for name, x in HERE.items()}}
    found = jax.jit(own.evaluate)(one)
    straight = sum(map(float, Quadratic.rewards([one["params"]] * HORIZON, HORIZON)))
    turned = {**one["params"], "w": -one["params"]["w"]}  # what acts on the opposite of what is there
    turned = sum(map(float, Quadratic.rewards([turned] * HORIZON, HORIZON)))
    assert found["return_mean"] == pytest.approx((straight + turned) / 2, rel=0.1)
    assert found["return_lowest"] == pytest.approx(min(straight, turned), rel=0.1)
    assert abs(straight - turned) > 0.3 * abs(straight)
    assert found["evaluation_diverged"] == 0


@pytest.mark.parametrize(
    "reduction", ["svrpg", *(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "mdpgt"))]
)
def test_a_run_gets_better_and_keeps_its_laws(reduction):
    config = SvrpgTrackingConfig(
        task=BraxTask(horizon=HORIZON, discount=GAMMA),
        estimator=ReductionConfig(reduction=reduction, batch=20, snapshot_batch=100, period=5),
        network=NetworkConfig(learning_rate=0.05),
        workers=agents(3),
    )
    system = SvrpgTracking(config, task(3))
    assert system.x64 is False

    def one(state, _):
        after, counted, scalars = system.step(state)
        return after, (counted, scalars)

    begun = system.begin(jax.random.key(0))
    ended, (counted, scalars) = jax.jit(lambda state: jax.lax.scan(one, state, length=40))(begun)
    evaluate = jax.jit(system.evaluate)
    assert evaluate(ended)["return_mean"] > evaluate(begun)["return_mean"] + 0.3
    assert scalars["tracker_error"].max() < 1e-5
    assert (np.asarray(scalars["largest_weight"]) > 1).any() == (reduction != "none")
    number = {"svrpg": 8 * 100 + 32 * 20, "none": 40 * 20, "mdpgt": 100 + 39 * 20}[reduction]
    assert counted.gradients.sum() == 3 * number
    assert counted.env_steps.sum() == 3 * number * HORIZON


@pytest.mark.slow  # minutes of compiling
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_a_named_environment_is_played_in_worlds_that_differ():
    config = SvrpgTrackingConfig(
        task=BraxTask(environment="inverted_pendulum", horizon=10, evaluation_episodes=4, hidden_sizes=(4,)),
        estimator=ReductionConfig(batch=2, snapshot_batch=4, period=2),
        network=NetworkConfig(learning_rate=0.001),
        workers={
            "count": 2,
            "environments": [{"workers": [2], "gravity": 1.5}],
            "compute_time": {"worker_exponent": 0},
        },
    )
    system = SvrpgTracking(config)
    state, step = system.begin(jax.random.key(0)), jax.jit(system.step)
    for _ in range(3):
        state, _, scalars = step(state)
        assert all(np.isfinite(value) for value in scalars.values())
    assert np.isfinite(jax.jit(system.evaluate)(state)["return_mean"])


def test_lanes_are_where_the_chosen_device_is_fastest(monkeypatch):
    """A system on a CPU beside a GPU plays as on a CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not _brax._lanes_last()
    with jax.default_device(jax.devices("cpu")[0]):
        assert _brax._lanes_last()
