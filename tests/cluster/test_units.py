"""A worker's unit of work is the estimator's gradient, and costs the same however its episodes go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Breaks, EndsWhenChosen, EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.rollout import Tasks, observation_statistics, rollout
from nigt_jax.runtimes import make_parts
from nigt_jax.runtimes.cluster._server import fault_of
from nigt_jax.runtimes.cluster._worker import Sums
from nigt_jax.training import Assignment, add_units, advance_unit, begin_unit, finish_unit, make_hyperparameters

HORIZON, EACH = 7, 5


def parts_of(environment, estimator="leave_one_out"):
    config = check_config(
        {
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"hidden_sizes": [8], "normalize_observations": True},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {"name": "rennala_nigt", "batch_size": 3, "trajectories_per_gradient": EACH},
            "training": {"platform": "cpu"},
        }
    )
    parts = make_parts(config, environment, 1, axis=None)
    return parts, make_hyperparameters(config, parts.policy, parts.estimator, parts.method, 1)


def unit_of(parts, hyperparameters, key, steps=(3, 3, 1)):
    assignment = Assignment(parts.policy.init(jax.random.key(5)), parts.policy.init_normalizer(), jnp.float32(-2.0))
    now = jax.jit(lambda: begin_unit(parts, assignment, None, key))()
    advance = jax.jit(lambda now, steps: advance_unit(parts, assignment, None, key, now, steps))
    for number in steps:
        now = advance(now, jnp.int32(number))
    return jax.jit(lambda now: finish_unit(parts, assignment, hyperparameters.estimator, None, key, now))(now), now


@pytest.mark.parametrize(
    "environment", [EndsWhenGood(), Breaks(), EndsWhenChosen()], ids=["ends", "breaks", "discrete"]
)
@pytest.mark.parametrize("estimator", [pytest.param("leave_one_out", marks=pytest.mark.slow), "policy_gradient"])
def test_a_unit_is_the_gradient_of_its_episodes(environment, estimator):
    """The oracle is the queue, which skips what comes after an end."""
    parts, hyperparameters = parts_of(environment, estimator)
    key = jax.random.key(3)
    unit, _ = unit_of(parts, hyperparameters, key)
    params, normalizer = parts.policy.init(jax.random.key(5)), parts.policy.init_normalizer()
    one = lambda tree: jax.tree.map(lambda x: x[None], tree)
    tasks = Tasks(
        jax.random.split(key, EACH), jnp.ones(EACH, bool), one(params), one(normalizer), None, jnp.full(1, -2.0)
    )

    @jax.jit
    def wanted():
        batch = rollout(environment, parts.policy, tasks, HORIZON, (2,), lanes_last=True)
        factors = parts.estimator.coefficients((), batch, one(normalizer), one(hyperparameters.estimator), None)
        total = policy_gradient_sum(parts.policy, one(params), one(normalizer), batch, factors)
        return total, observation_statistics(batch, None), batch.lengths, batch.returns, batch.lowest()

    total, statistics, lengths, returns, lowest = wanted()
    assert len(set(lengths.tolist())) > 1  # some end early
    for got, whole in zip(jax.tree.leaves(unit.gradient), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(got, whole[0] / EACH, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(unit.statistics.count, statistics.count[0])
    np.testing.assert_allclose(unit.statistics.mean, statistics.mean[0], rtol=1e-5)
    np.testing.assert_allclose(unit.statistics.variance, statistics.variance[0], rtol=1e-4, atol=1e-6)
    assert int(unit.env_steps) == lengths.sum()
    np.testing.assert_allclose(unit.returns, returns.sum(), rtol=1e-5)
    np.testing.assert_allclose(unit.lowest, lowest[0], rtol=1e-6)


def test_a_unit_costs_the_same_however_its_episodes_go():
    """All steps are made, and all are looked at: nothing is to be gained by an early end."""
    parts, hyperparameters = parts_of(EndsWhenGood())
    units, made = zip(*(unit_of(parts, hyperparameters, jax.random.key(k)) for k in range(4)), strict=True)
    assert len({int(unit.env_steps) for unit in units}) > 1
    assert {int(now.computed) for now in made} == {HORIZON * EACH}


@pytest.mark.parametrize(
    ("spoil", "clause"),
    [
        (lambda unit: unit._replace(returns=np.float32(np.nan)), "not finite"),
        (lambda unit: unit._replace(gradient=jax.tree.map(lambda x: x * np.inf, unit.gradient)), "not finite"),
        (lambda unit: unit._replace(gradient=jax.tree.map(lambda x: x[..., None], unit.gradient)), "another shape"),
        (lambda unit: unit._replace(returns=np.float64(1)), "another shape"),
        (lambda unit: unit._replace(gradient={}), "no gradient of this policy"),
        (lambda unit: tuple(unit), "no gradient of this policy"),
    ],
)
def test_what_no_worker_should_send(spoil, clause):
    parts, hyperparameters = parts_of(EndsWhenGood())
    unit = jax.device_get(unit_of(parts, hyperparameters, jax.random.key(0))[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), unit)
    assert fault_of(unit, like) is None
    assert clause in fault_of(spoil(unit), like)


def test_sums_of_the_first_units():
    parts, hyperparameters = parts_of(EndsWhenGood())
    one, _ = unit_of(parts, hyperparameters, jax.random.key(0))
    sums, many = Sums(), 70
    for k in range(many):
        sums.add(jax.tree.map(lambda x, k=k: x * (k + 1), one))
    for count in (many, 40, 7):
        whole = sums.first(count)
        np.testing.assert_allclose(whole.returns, one.returns * count * (count + 1) / 2, rtol=1e-5)
    assert sums.first(many - 64) is None  # too long ago
    assert sums.first(many + 1) is None
    assert Sums().first(1) is None


def test_statistics_of_two_units_together():
    parts, hyperparameters = parts_of(EndsWhenGood())
    one, other = (unit_of(parts, hyperparameters, jax.random.key(k))[0] for k in (0, 1))
    one = one._replace(statistics=one.statistics._replace(mean=one.statistics.mean + 3))
    both = add_units(one, other).statistics
    n, m = float(one.statistics.count), float(other.statistics.count)
    mean = (n * one.statistics.mean + m * other.statistics.mean) / (n + m)
    squares = sum(k * (s.variance + (s.mean - mean) ** 2) for k, s in ((n, one.statistics), (m, other.statistics)))
    np.testing.assert_allclose(both.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(both.variance, squares / (n + m), rtol=1e-5)
