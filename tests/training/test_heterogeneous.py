"""Workers whose environments differ: Rennala leans toward the fast ones, Malenia does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic, linear_policy

from nigt_jax.config import EnvironmentChange, Workers, check_config
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS
from nigt_jax.rollout import Variation, Varied, check_variation, make_environment
from nigt_jax.training._settings import make_variation
from nigt_jax.training._state import initial_state
from nigt_jax.training._trainer import Trainer

HORIZON = 3


class Weighed(Quadratic):
    """The quadratic probe with a reward weight."""

    def __init__(self):
        self._distance_weight = 1.0

    def step(self, state, action):
        """One move, and its weighed reward."""
        state = super().step(state, action)
        return state._replace(reward=self._distance_weight * state.reward)


WORKERS = {
    "count": 3,
    "compute_time": {"values": [1.0, 2.0, 6.0]},
    "communication_time": {"values": [0.0, 0.0, 0.0]},
    "environments": [
        {"workers": [2], "reward": {"distance_weight": 3.0}},
        {"workers": [3], "reward": {"distance_weight": -5.0}},
    ],
}
WEIGHTS = np.array([1.0, 3.0, -5.0])


def config(method, batch_size, workers=WORKERS, **training):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"normalize_observations": False},
            "estimator": {"name": "policy_gradient", "discount": 1.0},
            "method": {"name": method, "batch_size": batch_size, "learning_rate": 1.0},
            "workers": workers,
            "training": {"iterations": 1, "chunk": 1, "devices": 2, "platform": "cpu", "lanes": 4000, **training},
            "evaluation": {"episodes": 6},
        }
    )


def first_gradient(method, batch_size):
    """The aggregated gradient of the first round: what plain ascent with a step of 1 moves by."""
    trainer = Trainer(config(method, batch_size), Weighed())
    plain = METHODS["rennala_pg"]
    trainer.parts = trainer.parts._replace(
        policy=linear_policy(), method=METHODS[method]._replace(update=plain.update, model=plain.model)
    )
    trainer._start = functools.partial(initial_state, trainer.parts)
    trainer.compile()
    start = trainer.initial_state()
    before = jax.device_get(start.server.sent)
    after, metrics = trainer.run(start, 1)
    return jax.tree.map(lambda b, a: float(a[0] - b[0]), before, jax.device_get(after.server.sent)), metrics


def gradient_of_the_probe():
    params = linear_policy().init(jax.random.key(0))
    total = lambda p: sum(Quadratic.rewards([p["params"]] * HORIZON, HORIZON))
    return jax.tree.map(float, jax.grad(total)(params))


@pytest.mark.parametrize(
    ("method", "batch_size", "shares"),
    [
        ("rennala_nigt", 400_000, [0.6, 0.3, 0.1]),  # a worker's share is its speed
        ("malenia_nigt", 360_000, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_rennala_and_malenia_disagree_as_they_must(method, batch_size, shares):
    gradient, _ = first_gradient(method, batch_size)
    factor = float(np.dot(shares, WEIGHTS))  # of the gradient of the plain probe: 1.0 and -1/3, opposite directions
    for got, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_of_the_probe()), strict=True):
        assert got == pytest.approx(factor * wanted, abs=0.3)


def test_the_disagreement_is_large_enough_to_be_seen():
    assert max(abs(x) for x in jax.tree.leaves(gradient_of_the_probe())) > 1


def test_every_workers_return_is_reported():
    trainer = Trainer(config("malenia_nigt", 6), Weighed())
    trainer.compile()
    (record,) = trainer.evaluate(trainer.initial_state())
    by_worker = np.array(record["return_by_worker"])
    np.testing.assert_allclose(by_worker, by_worker[0] * WEIGHTS, rtol=1e-5)  # the same keys in every environment
    assert record["return_mean"] == pytest.approx(by_worker.mean())


def test_flipped_observations_come_with_a_bit():
    variation = lambda flip: Variation(*(jnp.ones([]),) * 4, {}, jnp.float32(flip))
    key = jax.random.key(3)
    plain = Quadratic().reset(key).obs
    np.testing.assert_allclose(Varied(Quadratic(), variation(0)).reset(key).obs, [plain[0], 0])
    flipped = Varied(Quadratic(), variation(1))
    state = flipped.reset(key)
    np.testing.assert_allclose(state.obs, [-plain[0], 1])
    after = flipped.step(state, jnp.array([0.3]))
    wanted = Quadratic().step(Quadratic().reset(key), jnp.array([0.3]))
    np.testing.assert_allclose(after.obs, [-wanted.obs[0], 1])
    np.testing.assert_allclose(after.reward, wanted.reward)


def test_changes_multiply():
    changes = (
        EnvironmentChange(workers=(1, 2), gravity=2.0, flip_observation=True),
        EnvironmentChange(workers=(2, 3), gravity=1.5, reward={"a_weight": 4.0}),
    )
    variation = make_variation(Workers(count=4, environments=changes))
    np.testing.assert_allclose(variation.gravity, [2, 3, 1.5, 1])
    np.testing.assert_allclose(variation.reward["a_weight"], [1, 4, 4, 1])
    np.testing.assert_allclose(variation.flip, [1, 1, 0, 0])
    assert make_variation(Workers(count=4)) is None


def test_a_weight_that_the_environment_has_not():
    workers = WORKERS | {"environments": [{"workers": [1], "reward": {"speed_weight": 2.0}}]}
    with pytest.raises(UserError, match="got reward weight speed_weight, this environment has: distance_weight"):
        Trainer(config("malenia_nigt", 6, workers), Weighed())


@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_each_part_of_the_physics_makes_a_difference():
    environment = make_environment("hopper", "spring")
    # Worker 0 is as it is; each of the others differs in one thing.
    factors = jnp.where(jnp.arange(6)[None, :] == jnp.arange(1, 6)[:, None], 0.3, 1.0)
    varied = Variation(*factors[:4], {"healthy_reward": factors[4]}, None)
    total = np.zeros(6)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        step = jax.jit(jax.vmap(lambda v, s, a: Varied(environment, v).step(s, a)))
        state = jax.vmap(lambda v: Varied(environment, v).reset(jax.random.key(5)))(varied)
        for k in range(40):
            state = step(varied, state, jnp.full((6, 3), 0.4 * (-1) ** (k // 5)))
            total += np.abs(np.asarray(state.reward) - float(state.reward[0]))
    gravity, mass, friction, gain, reward = total[1:] > 1e-3
    assert [gravity, friction, gain, reward] == [True] * 4, total
    # Brax leaves masses out of this environment on this backend, and we say so.
    assert not mass
    with pytest.raises(UserError, match="got mass, which Brax leaves out of this environment on spring"):
        check_variation(environment, varied)


def test_masses_are_those_of_the_model_too():
    environment = make_environment("hopper", "generalized")
    heavy = Variation(*(jnp.float32(x) for x in (1, 2, 1, 1)), {}, None)
    check_variation(environment, heavy)
    before, after = environment.sys, Varied(environment, heavy)._environment.sys
    for get in (lambda s: s.link.inertia.mass, lambda s: s.link.inertia.i, lambda s: s.body_mass):
        np.testing.assert_allclose(get(after), 2 * np.asarray(get(before)), rtol=1e-6)
    assert environment.sys is before
