"""Importance weights: episodes of one policy tell of another without bias, and each weight is a product over steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, alone, dense, deviations, expected_gradient, grouped, linear_policy, play

from nigt_jax.estimators import (
    EstimatorHyperparameters,
    importance_weights,
    leave_one_out,
    policy_gradient_sum,
    return_to_go_gradient,
)

HORIZON, EPISODES, BATCHES = 3, 4, 8000
POLICY = linear_policy()
START = POLICY.init(jax.random.key(0))
REACHED = jax.tree.map(
    lambda x, u: x + u, START, {"params": {"b": jnp.float32(-0.1), "c": jnp.float32(0.2), "w": jnp.float32(0.1)}}
)
NORMALIZER = grouped(POLICY.init_normalizer())
DISCOUNT = EstimatorHyperparameters(jnp.full(1, 0.8, jnp.float32))


def estimates(environment, estimator, weigh):
    """The gradient at the start, from small batches that were played elsewhere; [batch, parameter]."""

    def one(key):
        everyone = jnp.ones(EPISODES, bool)
        keys = jax.random.split(key, EPISODES)
        episodes = play(environment, POLICY, REACHED, alone(NORMALIZER), keys, everyone, HORIZON, (2,))
        factors = estimator.coefficients((), episodes, NORMALIZER, DISCOUNT, None)
        weights = weigh(POLICY, grouped(REACHED), grouped(START), NORMALIZER, episodes)
        total = alone(policy_gradient_sum(POLICY, grouped(START), NORMALIZER, episodes, factors * weights[None, :]))
        return jnp.stack([total["params"][name] / EPISODES for name in "bcw"])

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), BATCHES)), np.float64)


@pytest.mark.parametrize(
    ("environment", "estimator"),
    [(Quadratic(), leave_one_out), (EndsWhenGood(), return_to_go_gradient)],
    ids=["leave_one_out", "return_to_go-ends"],
)
def test_the_weighted_gradient_is_that_of_the_other_policy(environment, estimator):
    truth = expected_gradient(environment, START, HORIZON, 0.8, from_start=False)
    assert deviations(estimates(environment, estimator, importance_weights), truth, least=10).max() < 4
    unweighted = lambda policy, params, other, normalizer, episodes: jnp.ones(episodes.lengths.size)
    assert deviations(estimates(environment, estimator, unweighted), truth, least=10).max() > 10


def test_a_weight_is_a_product_over_the_steps_of_an_episode():
    """Of episodes of different lengths, one of which is not played, in two groups with parameters of their own."""
    two = lambda a, b: jax.tree.map(lambda x, y: jnp.stack([x, y]), a, b)
    keys, active = jax.random.split(jax.random.key(2), 6), jnp.arange(6) != 4
    episodes = play(EndsWhenGood(), POLICY, REACHED, alone(NORMALIZER), keys, active, 6, (3,))
    episodes = episodes.__class__(**{**vars(episodes), "groups": 2, "charge": jnp.zeros(2)})
    normalizer = two(alone(NORMALIZER), alone(NORMALIZER))
    found = importance_weights(POLICY, two(REACHED, START), two(START, REACHED), normalizer, episodes)
    rows = dense(episodes)
    density = lambda p: np.asarray(POLICY.log_density(p, alone(NORMALIZER), rows.observation, rows.sample), np.float64)
    towards_start = np.where(rows.alive, density(START) - density(REACHED), 0).sum(0)
    wanted = np.exp(np.where(np.arange(6) < 3, towards_start, -towards_start))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found[4] == 1
    assert len(set(np.asarray(episodes.lengths).tolist())) > 2
