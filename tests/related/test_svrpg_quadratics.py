"""Gradient tracking without noise: the common optimum at the rate of its matrix, and a stall without it."""

import jax.numpy as jnp
import numpy as np
import pytest
from svrpg_oracle import ring_in_numpy
from svrpg_rounds import configured, run

from nigt_jax.related.svrpg_tracking import (
    Task,
)

pytestmark = pytest.mark.usefixtures("in_64_bits")


class Quadratics(Task):
    """A task without episodes: agent i's objective is -1/2 (theta - b_i)' H_i (theta - b_i)."""

    agents, parameters, discount, baseline = 6, 3, 1.0, False

    def __init__(self):
        rng = np.random.default_rng(3)
        turned = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(6)]
        self.curvature = np.stack([q @ np.diag(rng.uniform(0.5, 1.5, 3)) @ q.T for q in turned])
        self.optima = rng.normal(size=(6, 3))

    def play(self, params, key, there):
        del params, key
        return there

    def steps(self, episodes):
        del episodes
        return jnp.zeros([], jnp.int32)

    def told(self, episodes):
        del episodes
        return {}

    def rewards(self, episodes):
        return jnp.zeros((1, 6, episodes.size))

    def log_ratio(self, params, others, episodes):
        del params, others
        return jnp.zeros((1, 6, episodes.size))

    def score_sum(self, params, episodes, factors):
        del episodes, factors
        return jnp.zeros_like(params)

    def deterministic(self, params):
        return jnp.einsum("nij,nj->ni", self.curvature, self.optima - params)


def quadratic_iterates(tracking, rounds):
    task = Quadratics()
    config = configured(count=6, tracking=tracking, learning_rate=0.1)
    return task, np.asarray(run(config, task, jnp.zeros((6, 3)), rounds).after.params)


def test_tracking_finds_the_common_optimum_at_the_rate_of_its_matrix():
    """The rate is that of the linear recursion in (theta, y), whose matrix is written out here."""
    task, iterates = quadratic_iterates(True, 400)
    best = np.linalg.solve(task.curvature.sum(0), np.einsum("nij,nj->i", task.curvature, task.optima))
    error = np.linalg.norm(iterates - best, axis=(1, 2))
    mixing = np.kron(ring_in_numpy(6), np.eye(3))
    slopes = np.zeros((18, 18))
    for i in range(6):
        slopes[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = -task.curvature[i]
    step = np.block([[mixing, 0.1 * np.eye(18)], [slopes @ (mixing - np.eye(18)), mixing + 0.1 * slopes]])
    moduli = np.sort(np.abs(np.linalg.eigvals(step)))
    rate = moduli[moduli < 1 - 1e-9].max()  # the sum of the trackers less that of the slopes never changes
    assert 0.85 < rate < 0.95
    assert (error[200] / error[100]) ** (1 / 100) == pytest.approx(rate, abs=5e-3)
    assert error[-1] < 1e-14


def test_without_tracking_agents_stall_where_slopes_and_mixing_balance():
    task, iterates = quadratic_iterates(False, 400)
    best = np.linalg.solve(task.curvature.sum(0), np.einsum("nij,nj->i", task.curvature, task.optima))
    pull = np.kron(np.eye(6) - ring_in_numpy(6), np.eye(3))
    toward = np.einsum("nij,nj->ni", task.curvature, task.optima).reshape(-1)
    for i in range(6):
        pull[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] += 0.1 * task.curvature[i]
    stuck = np.linalg.solve(pull, 0.1 * toward).reshape(6, 3)
    np.testing.assert_allclose(iterates[-1], stuck, atol=1e-12)
    assert np.linalg.norm(iterates[-1] - best) > 0.1
