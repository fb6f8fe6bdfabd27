"""Hessian-vector products: without bias for how the expected gradient changes along a step; exact on an episode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from probes import EndsWhenGood, Quadratic, alone, deviations, expected_gradient, grouped, linear_policy, play

from nigt_jax.estimators import (
    EstimatorHyperparameters,
    hessian_vector_sum,
    leave_one_out,
    policy_gradient,
    policy_gradient_sum,
    return_to_go_gradient,
)

HORIZON, EPISODES, BATCHES = 3, 4, 8000
POLICY = linear_policy()
AFTER = POLICY.init(jax.random.key(0))
STEP = {"params": {"b": jnp.float32(0.3), "c": jnp.float32(-0.25), "w": jnp.float32(0.2)}}
BEFORE = jax.tree.map(lambda x, u: x - u, AFTER, STEP)
NORMALIZER = grouped(POLICY.init_normalizer())
DISCOUNT = EstimatorHyperparameters(jnp.full(1, 0.8, jnp.float32))


def only_the_scores_change(policy, params, normalizer, episodes, factors, step):
    """A mistake: the derivative of the scores alone, as if the episodes did not depend on the policy."""
    gradient = lambda p: policy_gradient_sum(policy, p, normalizer, episodes, factors)
    moved = lambda e: jax.tree.map(lambda p, u: p + e * u, params, step)
    ahead, behind = moved(1e-2), moved(-1e-2)
    return jax.tree.map(lambda a, b: (a - b) / 2e-2, gradient(ahead), gradient(behind))


def changes(environment, estimator, product, drawn):
    """Estimates of how the gradient changes from small batches, each at a point of the step; [batch, parameter]."""

    def one(key):
        where, *keys = jax.random.split(key, 1 + EPISODES)
        share = jax.random.uniform(where) if drawn else jnp.float32(0)
        at = jax.tree.map(lambda x, u: x - share * u, AFTER, STEP)
        everyone = jnp.ones(EPISODES, bool)
        normalizer = alone(NORMALIZER)
        episodes = play(environment, POLICY, at, normalizer, jnp.stack(keys), everyone, HORIZON, (2,), charge=0.0)
        factors = estimator.coefficients((), episodes, NORMALIZER, DISCOUNT, None)
        total = alone(product(POLICY, grouped(at), NORMALIZER, episodes, factors, grouped(STEP)))
        return jnp.stack([total["params"][name] / EPISODES for name in "bcw"])

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), BATCHES)), np.float64)


def change_of_gradient(environment, from_start):
    """How the expected gradient changes along the step."""
    after, before = (expected_gradient(environment, p, HORIZON, 0.8, from_start) for p in (AFTER, BEFORE))
    return after - before


@pytest.mark.parametrize(
    ("environment", "estimator", "from_start"),
    [
        pytest.param(Quadratic(), policy_gradient, True, id="policy_gradient"),
        pytest.param(Quadratic(), leave_one_out, False, id="leave_one_out", marks=pytest.mark.slow),
        pytest.param(EndsWhenGood(), return_to_go_gradient, False, id="return_to_go-ends", marks=pytest.mark.slow),
    ],
)
def test_unbiased_for_the_difference_of_gradients(environment, estimator, from_start):
    samples = changes(environment, estimator, hessian_vector_sum, drawn=True)
    truth = change_of_gradient(environment, from_start)
    assert deviations(samples, truth, least=10).max() < 4


@pytest.mark.slow
def test_at_the_end_of_the_step_alone_it_is_biased():
    samples = changes(Quadratic(), policy_gradient, hessian_vector_sum, drawn=False)
    truth = change_of_gradient(Quadratic(), True)
    assert deviations(samples, truth, least=10).max() > 5


def test_without_the_term_of_the_episodes_it_is_biased():
    samples = changes(Quadratic(), policy_gradient, only_the_scores_change, drawn=True)
    truth = change_of_gradient(Quadratic(), True)
    assert deviations(samples, truth, least=10).max() > 5


def test_is_the_sum_of_each_episodes_product():
    """Against dense matrices of each episode by itself; one does not count, and some end early; under jit."""
    keys = jax.random.split(jax.random.key(5), EPISODES)
    normalizer = alone(NORMALIZER)
    counted = jnp.array([True, True, False, True])
    whole = functools.partial(play, EndsWhenGood(), POLICY, AFTER, normalizer, horizon=HORIZON, widths=(2,))
    episodes = whole(keys=keys, active=counted, charge=0.0)
    factors = jnp.asarray(np.random.default_rng(0).normal(size=(HORIZON, EPISODES)), jnp.float32)
    product = jax.jit(functools.partial(hessian_vector_sum, POLICY))
    total = alone(product(grouped(AFTER), NORMALIZER, episodes, factors, grouped(STEP)))
    flat, back = ravel_pytree(AFTER)
    step = np.asarray(ravel_pytree(STEP)[0], np.float64)
    wanted = np.zeros(3)
    alive = np.asarray(episodes.alive())
    for e in range(EPISODES):

        def weighted(vector, weights, e=e):
            densities = []
            for t in range(int(episodes.lengths[e])):
                row, lane = episodes.outcomes.row[e] + t, episodes.outcomes.lane[e]
                density = POLICY.log_density(
                    back(vector), normalizer, episodes.observation[row, lane][None], episodes.sample[row, lane][None]
                )
                densities.append(weights[t] * density[0])
            return sum(densities, start=jnp.float32(0))

        ones, own = jnp.ones(HORIZON), factors[:, e]
        score, gradient = (np.asarray(jax.grad(weighted)(flat, w), np.float64) for w in (ones, own))
        wanted += score @ step * gradient + np.asarray(jax.hessian(weighted)(flat, own), np.float64) @ step
    assert 0 < alive.sum() < alive.size
    got = ravel_pytree(total)[0]
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-6)
