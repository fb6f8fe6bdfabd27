"""What workers compute from their own episodes, against one worker, one episode and one step at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic, dense, grouped, linear_policy, play

from nigt_jax.estimators import EstimatorHyperparameters, WorkUnits, policy_gradient_sum, return_to_go_gradient

WORKERS, SLOTS, HORIZON = 3, 4, 5
POLICY = linear_policy()
PARAMS, NORMALIZER = POLICY.init(jax.random.key(0)), POLICY.init_normalizer()
EPISODES = np.array([4, 1, 3])  # the other slots are empty
HYPERPARAMETERS = EstimatorHyperparameters(jnp.full(WORKERS, 0.9))


def to_all(tree):
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (WORKERS, *x.shape)), tree)


@pytest.fixture(scope="module")
def units():
    """Work units, and for each worker the dense record of its episodes."""
    keys = jax.random.split(jax.random.key(2), WORKERS * SLOTS)
    active = jnp.asarray(np.arange(SLOTS)[None, :] < EPISODES[:, None]).ravel()
    batch = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, active, HORIZON, (3,))
    own = dataclasses.replace(batch, groups=WORKERS, charge=jnp.zeros(WORKERS))
    coefficients = return_to_go_gradient.coefficients((), own, to_all(NORMALIZER), HYPERPARAMETERS, None)
    work = WorkUnits(POLICY, to_all(PARAMS), to_all(NORMALIZER), own, coefficients, jnp.asarray(EPISODES, jnp.int32))
    return work, dense(batch), coefficients


def scores(record, episode):
    """The score of every step of an episode, [step, parameter], in float64."""

    def log_density(params, t):
        own = (record.observation[t, episode], record.sample[t, episode])
        return POLICY.log_density(params, NORMALIZER, *own)

    rows = [jax.flatten_util.ravel_pytree(jax.grad(log_density)(PARAMS, t))[0] for t in range(HORIZON)]
    return np.asarray(jnp.stack(rows), np.float64) * np.asarray(record.alive)[:, episode, None]


def of_worker(worker):
    return range(worker * SLOTS, worker * SLOTS + EPISODES[worker])


def flat(tree):
    return np.asarray(jax.vmap(lambda own: jax.flatten_util.ravel_pytree(own)[0])(tree))


def test_gradients_and_variances_are_each_workers_own(units):
    work, record, coefficients = units
    gradients, variances = jax.jit(lambda: (work.gradients(), work.variances()))()
    factors = np.asarray(coefficients, np.float64)
    for worker in range(WORKERS):
        single = np.stack([factors[:, e] @ scores(record, e) for e in of_worker(worker)])
        np.testing.assert_allclose(flat(gradients)[worker], single.mean(0), rtol=1e-4, atol=1e-5)
        number = len(single)
        wanted = single.var(0, ddof=1).sum() / number if number > 1 else 0.0
        assert float(variances[worker]) == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def test_the_variance_is_without_bias():
    """Over many batches the mean of what is reported is the variance of the gradients themselves."""

    def one(key):
        keys = jax.random.split(key, 2 * 3)
        batch = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(6, bool), 2, (6,))
        own = dataclasses.replace(batch, groups=2, charge=jnp.zeros(2))
        both = lambda tree: jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape)), tree)
        hyper = EstimatorHyperparameters(jnp.full(2, 0.9))
        factors = return_to_go_gradient.coefficients((), own, both(NORMALIZER), hyper, None)
        work = WorkUnits(POLICY, both(PARAMS), both(NORMALIZER), own, factors, jnp.full(2, 3, jnp.int32))
        gradients = jax.vmap(lambda g: jax.flatten_util.ravel_pytree(g)[0])(work.gradients())
        return gradients, work.variances()

    gradients, variances = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 40_000))
    true = np.asarray(gradients, np.float64).reshape(80_000, -1).var(0).sum()
    reported = np.asarray(variances, np.float64).ravel()
    error = reported.std() / np.sqrt(reported.size)
    assert abs(reported.mean() - true) < 5 * error + 0.02 * true
    assert abs(reported.mean() * 2 / 3 - true) > 5 * error + 0.02 * true  # dividing by N instead of N - 1


def test_fisher_matrices_and_their_products(units):
    work, record, _ = units
    size = flat(work.params).shape[1]
    vectors = np.random.default_rng(1).normal(size=(WORKERS, size)).astype(np.float32)
    unflatten = jax.flatten_util.ravel_pytree(PARAMS)[1]
    tree = jax.vmap(unflatten)(jnp.asarray(vectors))
    products = flat(jax.jit(lambda v: work.fisher_vector_products(v))(tree))
    matrices = np.asarray(jax.jit(work.fisher_matrices)())
    for worker in range(WORKERS):
        rows = np.concatenate([scores(record, e) for e in of_worker(worker)])
        steps = sum(int(record.lengths[e]) for e in of_worker(worker))
        wanted = rows.T @ (rows @ vectors[worker].astype(np.float64)) / steps
        np.testing.assert_allclose(matrices[worker], rows.T @ rows / steps, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(products[worker], wanted, rtol=1e-4, atol=1e-5)


def test_a_group_is_as_if_it_were_alone(units):
    work, _, coefficients = units
    mine = np.arange(WORKERS * SLOTS) < SLOTS
    first = dataclasses.replace(work.trajectories.only(jnp.asarray(mine)), groups=1, charge=jnp.zeros(1))
    total = policy_gradient_sum(POLICY, grouped(PARAMS), grouped(NORMALIZER), first, coefficients)
    whole = jax.tree.map(lambda x: x[0] * np.float32(EPISODES[0]), work.gradients())
    for a, b in zip(jax.tree.leaves(total), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5)
