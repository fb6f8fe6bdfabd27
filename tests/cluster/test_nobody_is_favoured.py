"""Whether a gradient of a real worker is counted never depends on how its episodes go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, linear_policy
from virtual import Crew, make

from nigt_jax.training import advance_unit, begin_unit, finish_unit
from nigt_jax.training._unit import Assignment

HORIZON, WORKERS, ROUNDS, BATCH = 6, 200, 15, 60
POLICY = linear_policy()


class PlayingCrew(Crew):
    """Virtual workers whose units are real ones of single episodes, and take as long as `cost` says."""

    def __init__(self, *arguments, **changes):
        super().__init__(*arguments, **changes)
        self.doing, self.begun = {}, 0  # of each worker the number of its unit; units begun
        self.pool = self.cost = None

    def give(self, workers, order, assignment, since=None):
        del since
        for worker in workers:
            self.orders[worker] = [order, 0]
            self.begin(worker)
        return assignment

    def begin(self, worker):
        self.durations[worker] = self.cost(self.begun)
        self.doing[worker] = self.begun
        self.finish[worker] = self.now + self.durations[worker]
        self.begun += 1

    def unit(self, worker, count):
        assert count == 1  # of each, or a unit's number would have to be kept
        return jax.tree.map(lambda x: x[self.doing[worker]], self.pool)


@pytest.fixture(scope="module")
def pool():
    """So many units of one episode each, and the steps that each has made."""
    driver, _, _, _ = make("m_synchronous_nigt", [1.0], batch_size=1)
    parts = driver._parts._replace(
        policy=POLICY, environment=EndsWhenGood(), horizon=HORIZON, trajectories_per_gradient=1
    )
    sent = Assignment(POLICY.init(jax.random.key(0)), POLICY.init_normalizer(), jnp.zeros([]))
    tuned = driver._hyperparameters.estimator

    def unit(key):
        now = advance_unit(parts, sent, None, key, begin_unit(parts, sent, None, key), jnp.int32(HORIZON))
        return finish_unit(parts, sent, tuned, None, key, now), now.computed

    keys = jax.random.split(jax.random.key(1), WORKERS * ROUNDS)
    return jax.device_get(jax.jit(jax.vmap(unit))(keys))


def counted_returns(pool, cost):
    """The mean return of what the driver counts, and its error, where a unit takes as long as `cost` says."""
    units, computed = pool
    driver, state, step, crew = make(
        "m_synchronous_nigt", [1.0] * WORKERS, crew_class=PlayingCrew, batch_size=BATCH, learning_rate=1e-6
    )
    like = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), crew.like)
    crew.pool = units._replace(
        gradient=jax.tree.map(lambda x: np.broadcast_to(x, (computed.size, *x.shape)), like.gradient)
    )
    crew.cost = lambda number: float(cost(units, computed)[number])
    returns = 0.0
    for _ in range(ROUNDS):
        state, done = driver.one(state, step)
        assert done.gradients == BATCH
        returns += float(done.total.returns)
    return returns / (ROUNDS * BATCH), 0.7 / np.sqrt(ROUNDS * BATCH)  # the deviation of a return is below 0.7


def test_the_counted_are_as_good_as_any(pool):
    """What a worker computes is what takes its time: the steps made."""
    got, error = counted_returns(pool, lambda units, computed: computed)
    assert got == pytest.approx(EndsWhenGood.expected_return(POLICY, HORIZON), abs=4 * error)


def test_a_unit_that_ends_with_its_episode_is_caught(pool):
    """The wrong rule: a worker stops where the episode ends, and is counted sooner."""
    got, error = counted_returns(pool, lambda units, computed: units.env_steps)
    assert abs(got - EndsWhenGood.expected_return(POLICY, HORIZON)) > 4 * error
