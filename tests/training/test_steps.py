"""No counter wraps: steps of a round go beyond int32, and what an int32 has to number is refused in time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic, linear_policy

from nigt_jax.clocks import Round, SimulatedTime
from nigt_jax.config import COUNTABLE, check_config
from nigt_jax.errors import UserError
from nigt_jax.policies import ObservationStatistics, update_statistics
from nigt_jax.rollout import Outcomes, Trajectories
from nigt_jax.runs._nonsense import first_nonsense
from nigt_jax.runtimes import make_parts
from nigt_jax.training import (
    RoundMetrics,
    _block,
    add_steps,
    count_steps,
    initial_state,
    run_round,
    spent_of,
    stacked_hyperparameters,
    whole_steps,
)
from nigt_jax.training._layout import can_be_numbered
from nigt_jax.training._steps import StepCount


def test_sums_of_steps_are_those_of_unlimited_integers():
    """Blocks on eight devices, some of them as large as an int32 can be."""
    most, rng = 2**31 - 1, np.random.default_rng(0)
    blocks = rng.choice([0, 1, 2**22 - 1, 2**22, 10**9, most], (8, 60)).astype(np.int32)

    def on_one(mine):
        none = count_steps(jnp.zeros([], jnp.int32))
        add = lambda k, total: add_steps(total, count_steps(mine[k]))
        return jax.lax.psum(jax.lax.fori_loop(0, mine.size, add, none), "devices")

    got = jax.pmap(on_one, "devices")(blocks)
    assert whole_steps(got).tolist() == [sum(blocks.ravel().tolist())] * 8
    assert sum(blocks.ravel().tolist()) > 2**37


def config(name="rennala_nigt", **sections):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 2},
            "policy": {"hidden_sizes": [2], "normalize_observations": False},
            "estimator": {"name": "policy_gradient"},
            "method": {"name": name, "batch_size": 8, "trajectories_per_gradient": 1000},
            "workers": {"count": 2, "compute_time": {"values": [1, 600_001]}},
            "training": {"block": 2000, "lanes": 2, "platform": "cpu", "compilation_cache": False},
        }
        | sections
    )


def test_more_steps_than_can_be_counted_are_as_many_as_can():
    """Rather than fewer than none: a schedule of the steps made would begin anew, and worse."""
    most = StepCount.most()
    numbers = np.array([0, 2**31, most - 1, most, most + 1, 2**62])
    assert whole_steps(StepCount.of(numbers)).tolist() == np.minimum(numbers, most).tolist()


@pytest.mark.parametrize(  # the first looks at 3 billion steps, for two minutes
    ("name", "steps"), [pytest.param("rennala_nigt", 8000 * 400_000, marks=pytest.mark.slow), ("malenia_nigt", 0)]
)
def test_a_round_of_many_steps_is_counted_and_one_of_too_many_episodes_is_not_played(monkeypatch, name, steps):
    """Episodes that say they had 400,000 steps each. Malenia's fast worker has 600,000 gradients of 1000 of them."""

    def long_episodes(environment, policy, tasks, horizon, num_lanes, chunk_size, *, lanes_last):
        del environment, policy, num_lanes, lanes_last
        size = tasks.keys.size
        lengths = jnp.where(tasks.active, 400_000, 0)
        outcomes = Outcomes(jnp.zeros(size), lengths, jnp.zeros(size, bool), *jnp.zeros((2, size), jnp.int32))
        nothing = jnp.zeros((2, 2, 1))
        steps = lengths.sum(dtype=jnp.int32)
        return Trajectories(horizon, chunk_size, 1, outcomes, tasks.charge, steps, nothing, nothing, nothing[:, :, 0])

    monkeypatch.setattr(_block, "rollout", long_episodes)
    monkeypatch.setattr(_block, "policy_gradient_sum", lambda policy, params, *_: jax.tree.map(jnp.zeros_like, params))
    cfg = config(name)
    parts = make_parts(cfg, Quadratic(), 1, axis=None)
    hyperparameters = stacked_hyperparameters([cfg], parts.policy, parts.estimator, parts.method)
    state = initial_state(parts, hyperparameters, jnp.zeros(1, jnp.uint32))
    _, metrics = jax.jit(lambda s: run_round(parts, s, hyperparameters, spent_of(1), jnp.ones(1, bool)))(state)
    assert whole_steps(metrics.env_steps).tolist() == whole_steps(metrics.computed_steps).tolist() == [steps]
    assert metrics.too_large.tolist() == [name == "malenia_nigt"]
    assert steps == 0 or steps > 2**31


@pytest.mark.parametrize(("each", "packed", "masked"), [(1, True, True), (500, True, False), (1000, False, False)])
def test_places_that_an_int32_can_number(each, packed, masked):
    counts = jnp.array([1_200_000, 1], jnp.int32)
    counted = Round(counts, jnp.float32(1), jnp.array([1, 1], jnp.int32), jnp.array(True))
    fits = lambda layout: bool(jax.jit(lambda c: can_be_numbered(layout, c, each))(counted))
    assert (fits("packed"), fits("masked")) == (packed, masked)


def metrics_of(**changed):
    """Of three good rounds of 8 gradients of 1000 episodes, up to 2 steps each, with something else in the second."""
    row = {
        "made": True,
        "gradients": 8,
        "episodes": 8000,
        "discarded": 1,
        "communications": 1,
        "uploads": 2,
        "downloads": 2,
        "delay": 0,
        "env_steps": 12_000,
        "computed_steps": 13_000,
    }
    row |= {"query_return_mean": 0.5, "gradient_norm": 0.0, "diverged": 0, "complete": True, "too_large": False}
    row |= {"finite": True}
    rows = {name: np.array([value] * 3) for name, value in row.items()}
    rows["time"] = SimulatedTime(np.array([1.0, 2.0, 3.0], np.float32), np.zeros(3, np.float32))
    for name, value in changed.items():
        (rows["time"].high if name == "time" else rows[name])[1] = value
    return RoundMetrics(**rows)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"gradients": 0, "env_steps": 0},
            "iteration 6 cannot be right, .* nigt_jax: 0 gradients, 0 steps",
        ),
        ({"gradients": -12_884_901_882}, "iteration 6 cannot be right, .*: -12,884,901,882 gradients"),
        ({"env_steps": -1_094_967_296}, "-1,094,967,296 steps"),
        ({"env_steps": 7_999}, "7,999 steps"),
        ({"env_steps": 16_001}, "16,001 steps"),
        ({"computed_steps": -5}, "12,000 steps of -5"),
        ({"discarded": -1}, "-1 discarded"),
        ({"communications": 0}, "0 exchanges"),
        ({"time": 0.5}, "simulated time goes back"),
        ({"time": np.nan}, "simulated time goes back"),
        (
            {"too_large": True, "gradients": -3},
            "iteration 6 has more than the 1,000,000,000 episodes",
        ),
        ({"complete": False, "gradients": -3}, "iteration 6 never ends"),
        ({"gradient_norm": np.inf}, "the gradient or the return of iteration 6 is not finite"),
        ({"query_return_mean": np.nan}, "the gradient or the return of iteration 6 is not finite"),
        ({"finite": False}, r"parameters, .* are not finite after iteration 6 \(method.learning_rate 0.03125\)"),
    ],
)
def test_a_round_that_cannot_be_right_is_found(wrong, says):
    assert first_nonsense(metrics_of(), config(), 4, 0.5) is None
    place, what = first_nonsense(metrics_of(**wrong), config(), 4, 0.5)
    assert place == 1
    assert re.search(says, what)


def test_a_server_may_have_played_episodes_of_its_own():
    """Up to three times two, of up to two steps."""
    method = {"name": "fedpg_br", "batch_size": 8, "trajectories_per_gradient": 1000, "max_inner": 3, "server_batch": 2}
    own = config(method=method)
    assert first_nonsense(metrics_of(env_steps=16_012, episodes=8_006), own, 4, 0.5) is None
    assert first_nonsense(metrics_of(env_steps=16_013, episodes=8_006), own, 4, 0.5)[0] == 1
    assert first_nonsense(metrics_of(env_steps=16_012, episodes=8_007), own, 4, 0.5)[0] == 1


def test_time_does_not_go_back_between_chunks():
    assert first_nonsense(metrics_of(), config(), 4, 1.5)[0] == 0


def test_blocks_have_no_more_steps_than_an_int32_counts():
    sections = {"environment": {"name": "fast", "horizon": 1_000_000}, "evaluation": {"episodes": 1}}
    roomy = make_parts(config(**sections, training={"platform": "cpu"}), Quadratic(), 1, memory=2**60)
    assert 500 < roomy.episodes <= COUNTABLE // 1_000_000
    with pytest.raises(UserError, match=r"training.block: got 2,000 episodes at once .* 1,000,000: 1,000, of 1,000,0"):
        make_parts(config(**sections), Quadratic(), 1)
    with pytest.raises(UserError, match=r"got 2 episodes at once on a device, of each of 600 runs; .*: 1, of 1,000,"):
        make_parts(config(**sections, training={"platform": "cpu"}), Quadratic(), 1, runs=600)


def test_observations_are_counted_beyond_int32():
    seen = ObservationStatistics(jnp.float32(3e9), jnp.ones(1), jnp.ones(1))
    normalizer = linear_policy().init_normalizer()
    for _ in range(3):
        normalizer = jax.jit(update_statistics)(normalizer, seen)
    assert int(normalizer.count.hi) * 2**32 + int(normalizer.count.lo) == 9_000_000_000


def test_a_share_of_all_is_all():
    assert _block.shares(jnp.int32(2**24 + 1), jnp.array([7])).tolist() == [2**24 + 1]
    assert _block.shares(jnp.int32(12), jnp.array([1, 0, 3])).tolist() == [3, 0, 9]
