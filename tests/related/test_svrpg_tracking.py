"""Gradient tracking with variance reduction against NumPy; the system, its clock, and what it refuses."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML
from svrpg_oracle import in_numpy, ring_in_numpy
from svrpg_rounds import KEY, configured, played

from nigt_jax.config.systems import NetworkConfig, SvrpgTrackingConfig
from nigt_jax.related.svrpg_tracking import (
    Agents,
    SvrpgTracking,
    begin_agents,
    estimate,
    exchange,
)
from nigt_jax.related.svrpg_tracking._network import tracker_error

CONFIGS = Path(__file__).parents[2] / "configs" / "related"
pytestmark = pytest.mark.usefixtures("in_64_bits")


CASES = {
    "svrpg": {},
    "svrpg alone": {"count": 1},
    "two agents, whole episodes, no tracking": {"count": 2, "weights": "per_episode", "tracking": False},
    "no reduction": {"reduction": "none"},
    "mdpgt": {"reduction": "mdpgt", "newest_weight": 0.3},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_algorithm_in_numpy(case):
    """Parameters, trackers, estimates and the largest weight of every round."""
    config = configured(**case)
    task, before, after, found, _ = played(config)
    episodes, play = [], jax.jit(task.play)
    for k in range(8):
        places = jnp.ones(config.estimator.most_episodes, bool)
        of = play(before.params[k], jax.random.fold_in(KEY, k), places)
        episodes.append([np.asarray(x) for x in (of.state, of.action, of.reward)])
    start = np.zeros((config.workers.count, 3, 2))
    for k, (theta, y, v, most) in enumerate(in_numpy(config, episodes, start, 8)):
        np.testing.assert_allclose(after.value[k], v, atol=1e-12)
        np.testing.assert_allclose(after.tracker[k], y, atol=1e-12)
        np.testing.assert_allclose(after.params[k], theta, atol=1e-12)
        assert found.largest_weight[k] == pytest.approx(most, rel=1e-12)
    if config.estimator.reduction != "none":
        assert found.largest_weight.max() > 1.2  # or nothing was weighted


def doubly_stochastic(count, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(7))
    return sum(share * np.eye(count)[rng.permutation(count)] for share in shares)


@pytest.mark.parametrize("row_only", [False, True])
def test_means_move_as_if_there_were_no_network(row_only):
    """By alpha times the mean estimate; where only rows sum to 1 they do not."""
    rng, network = np.random.default_rng(0), NetworkConfig(learning_rate=0.7)
    weights = doubly_stochastic(5, 1)
    if row_only:
        weights = rng.dirichlet(np.ones(5), 5)
    now = begin_agents({"a": jnp.asarray(rng.normal(size=(5, 3))), "b": jnp.asarray(rng.normal(size=(5, 2, 2)))})
    moves = jax.jit(lambda agents, value: exchange(weights, network, agents, value))
    wrong = 0.0
    for _ in range(20):
        value = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), now.params)
        after = moves(now, value)
        for name in ("a", "b"):
            mean = np.asarray(now.params[name]).mean(0) + 0.7 * np.asarray(value[name]).mean(0)
            wrong = max(wrong, np.abs(np.asarray(after.params[name]).mean(0) - mean).max())
            wrong = max(wrong, np.abs(np.asarray(after.tracker[name] - value[name]).mean(0)).max())
        now = after
    assert wrong > 0.1 if row_only else wrong < 1e-14


@pytest.mark.parametrize("case", ["svrpg", "no reduction", "mdpgt"])
def test_trackers_keep_the_mean_of_estimates(case):
    """In every round of a run; where the first trackers are not the first estimates they never do."""
    config = configured(**CASES[case])
    _, _, after, _, apart = played(config)
    mean = lambda x: np.asarray(x).mean(1)
    np.testing.assert_allclose(mean(after.tracker), mean(after.value), atol=1e-14)
    assert apart.max() < 1e-14
    late = Agents(after.params[3], 0 * after.tracker[3], after.value[3])
    late = exchange(ring_in_numpy(4), config.network, late, after.value[4])
    wrong = np.abs(np.asarray(late.tracker - late.value).mean(0)).max()
    assert wrong > 1e-3
    assert tracker_error(late) == pytest.approx(wrong)


def test_a_snapshot_in_every_round_is_no_reduction():
    """With m = 1 all is the plain method with the large batch, to the bit."""
    _, _, always, found, _ = played(configured(period=1, snapshot_batch=6))
    _, _, plain, _, _ = played(configured(reduction="none", batch=6))
    for a, b in zip(always, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (found.largest_weight == 1).all()


@functools.cache
def stepped(config):
    """The whole system: states before and after, what was counted, and the records' numbers, of eight rounds."""
    system = SvrpgTracking(config)

    def one(state, _):
        after, counted, scalars = system.step(state)
        return after, (state, after, counted, scalars)

    rounds = jax.jit(lambda state: jax.lax.scan(one, state, length=8)[1])
    return system, *rounds(system.begin(jax.random.key(5)))


def test_the_system_is_these_rounds():
    """From its state alone, at any time: estimate, then exchange."""
    config = configured()
    system, before, after, _, scalars = stepped(config)
    played_again = estimate_and_exchange(config, system, jax.tree.map(lambda x: x[5], before))
    for a, b in zip(jax.tree.leaves(played_again[0]), jax.tree.leaves(after.agents), strict=True):
        np.testing.assert_allclose(a, b[5], atol=1e-14)
    assert scalars["largest_weight"][5] == played_again[1].largest_weight
    mean = np.asarray(after.agents.params[5])
    apart = np.square(mean - mean.mean(0)).sum((1, 2)).mean()
    assert scalars["disagreement"][5] == pytest.approx(apart, rel=1e-12)


def estimate_and_exchange(config, system, state):
    key = jax.random.fold_in(state.key, state.iteration)
    find = jax.jit(lambda *of: estimate(system.task, config.estimator, *of))
    found = find(state.agents.params, state.reference, state.iteration, key)
    return exchange(ring_in_numpy(4), config.network, state.agents, found.value), found


def test_rounds_take_as_long_as_their_episodes_and_are_counted():
    _, _, after, counted, scalars = stepped(configured())
    each = np.array([8, 3, 3, 3, 8, 3, 3, 3])
    np.testing.assert_array_equal(scalars["trajectories"], each)
    np.testing.assert_array_equal(counted.gradients, 4 * each)
    assert {x.dtype.name for x in counted[:4]} == {"int32"}
    np.testing.assert_array_equal(counted.env_steps, 4 * 4 * each)
    np.testing.assert_array_equal(counted.messages, 8)
    np.testing.assert_array_equal(counted.numbers, 8 * 2 * 6)
    np.testing.assert_allclose(counted.time.high, np.cumsum(each))
    assert after.iteration[-1] == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": {"count": 3, "environments": [{"workers": [1], "gravity": 2.0}]}}, r"workers\.environments"),
        ({"task": {"kind": "brax"}, "estimator": {"batch": 1}}, r"estimator\.batch: got 1 .* 2 or more"),
        ({"task": {"kind": "brax", "environment": "swimmer"}}, r"task\.backend: got spring, allowed with swimmer"),
        ({"task": {"kind": "gym"}}, "task"),
        ({"graph": {"weights": "even"}}, r"graph\.weights: got even, allowed: metropolis"),
        ({"task": {"kind": "brax", "states": 3}}, "states"),
        ({"task": {"horizon": 10_000, "kind": "tabular"}, "estimator": {"batch": 1_000_000}}, "up to 1,000,000,000"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        SvrpgTrackingConfig(**given)


@pytest.mark.parametrize("name", ["svrpg_tracking", "svrpg_tracking_reacher"])
def test_configurations_to_run_are_allowed(name):
    given = YAML(typ="safe").load(CONFIGS / f"{name}.yaml")
    assert SvrpgTrackingConfig(**given).system == given["system"]


def test_a_person_is_told_what_came_of_it():
    system, _, after, _, scalars = stepped(configured())
    record = {name: float(value[-1]) for name, value in scalars.items()}
    record |= {name: float(value) for name, value in system.evaluate(jax.tree.map(lambda x: x[-1], after)).items()}
    lines = dict(system.results([{"iteration": 0, "return_mean": 1.0}, record]))
    assert set(lines) == {"return", "gradient", "disagreement", "weights", "spent"}
    assert lines["spent"] == "3 trajectories of each agent, 1 rounds"
    assert lines["return"].startswith("1 at first")
    assert system.headline in record
