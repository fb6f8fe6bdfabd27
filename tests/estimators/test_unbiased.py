"""Every estimator against the closed form of what it claims to estimate, and biased ones that have to fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import (
    Costly,
    EndsWhenGood,
    Quadratic,
    alone,
    deviations,
    expected_gradient,
    grouped,
    linear_policy,
    play,
)

from nigt_jax.estimators import (
    GaeHyperparameters,
    gae,
    leave_one_out,
    policy_gradient,
    policy_gradient_sum,
    return_to_go_gradient,
)

HORIZON, EPISODES, BATCHES = 3, 4, 6000
POLICY = linear_policy()
PARAMS = POLICY.init(jax.random.key(0))
NORMALIZER = POLICY.init_normalizer()


def settings(discount, gae_lambda=1.0):
    return GaeHyperparameters(*(jnp.asarray([x], jnp.float32) for x in (discount, gae_lambda, 1e-3)))


def estimates(environment, estimator, setting, seed=0):
    """Gradient estimates of many small batches, [batch, parameter]."""
    state = grouped(estimator.init(jax.random.key(7), 1))

    def one(key):
        keys = jax.random.split(key, EPISODES)
        charge, everyone = getattr(environment, "CHARGE", 0.0), jnp.ones(EPISODES, bool)
        episodes = play(environment, POLICY, PARAMS, NORMALIZER, keys, everyone, HORIZON, (2,), charge=charge)
        factors = estimator.coefficients(state, episodes, grouped(NORMALIZER), setting, None)
        total = alone(policy_gradient_sum(POLICY, grouped(PARAMS), grouped(NORMALIZER), episodes, factors))
        return jnp.stack([total["params"][name] / EPISODES for name in "bcw"])

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), BATCHES)), np.float64)


class WrongCritic:
    """GAE with a critic that is not zero, as after some learning of something else."""

    def __init__(self):
        self.estimator = gae(POLICY, steps=1)

    def init(self, key, size):
        state = self.estimator.init(key, size)
        noisy = jax.tree.map(lambda p: p + 0.2 * jax.random.normal(jax.random.key(p.size), p.shape), state.params)
        return state._replace(params=noisy, scale=jnp.float32(1.0))

    def coefficients(self, *args):
        return self.estimator.coefficients(*args)


class OwnIncluded:
    """The classic mistake: the batch mean as a baseline, the own episode in it."""

    init = staticmethod(policy_gradient.init)

    def coefficients(self, state, episodes, normalizer, setting, axis):
        to_go = return_to_go_gradient.coefficients(state, episodes, normalizer, setting, axis)
        return to_go - to_go.mean(1, keepdims=True)


class CountsAfterTheEnd:
    """Another one: rewards that follow the end of an episode."""

    init = staticmethod(policy_gradient.init)

    def coefficients(self, state, episodes, normalizer, setting, axis):
        missed = jnp.where(episodes.alive(), 0, 0.3)
        late = setting.discount[:, None] ** jnp.arange(HORIZON, dtype=jnp.float32)[:, None]
        right = policy_gradient.coefficients(state, episodes, normalizer, setting, axis)
        return right + jnp.sum(late * missed, axis=0, keepdims=True)


@pytest.mark.parametrize("environment", [Quadratic(), EndsWhenGood()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    ("estimator", "discount", "from_start"),
    [
        pytest.param(policy_gradient, 0.8, True, id="policy_gradient"),
        pytest.param(return_to_go_gradient, 0.8, False, id="return_to_go"),
        pytest.param(leave_one_out, 0.8, False, id="leave_one_out"),
        pytest.param(leave_one_out, 1.0, True, id="leave_one_out-undiscounted"),
        pytest.param(WrongCritic(), 0.8, False, id="gae-lambda-1"),
    ],
)
def test_unbiased(environment, estimator, discount, from_start):
    samples = estimates(environment, estimator, settings(discount))
    assert deviations(samples, expected_gradient(environment, PARAMS, HORIZON, discount, from_start)).max() < 4


@pytest.mark.parametrize(
    ("estimator", "setting", "from_start"),
    [
        pytest.param(policy_gradient, settings(0.8), True, id="policy_gradient"),
        pytest.param(leave_one_out, settings(0.8), False, id="leave_one_out"),
        pytest.param(gae(POLICY, steps=1), settings(1.0, 1.0), False, id="gae-undiscounted"),
    ],
)
def test_broken_physics_is_charged_without_bias(estimator, setting, from_start):
    """As if every step that is missed had earned the charge, discounted as a reward of its own time."""
    samples = estimates(Costly(), estimator, setting)
    assert (
        deviations(samples, expected_gradient(Costly(), PARAMS, HORIZON, float(setting.discount[0]), from_start)).max()
        < 4
    )


@pytest.mark.parametrize(
    ("environment", "estimator", "setting", "from_start"),
    [
        pytest.param(Quadratic(), OwnIncluded(), settings(0.8), False, id="own-episode-in-baseline"),
        pytest.param(EndsWhenGood(), CountsAfterTheEnd(), settings(0.8), True, id="rewards-after-the-end"),
        pytest.param(Quadratic(), return_to_go_gradient, settings(0.8), True, id="return-to-go-is-not-eq-3"),
        pytest.param(Quadratic(), WrongCritic(), settings(0.8, 0.0), False, id="gae-lambda-0-with-a-wrong-critic"),
    ],
)
def test_biased_ones_are_found_out(environment, estimator, setting, from_start):
    samples = estimates(environment, estimator, setting)
    assert deviations(samples, expected_gradient(environment, PARAMS, HORIZON, 0.8, from_start)).max() > 6


def test_leave_one_out_reduces_variance():
    plain, less = (estimates(Quadratic(), e, settings(1.0)).var(0) for e in (return_to_go_gradient, leave_one_out))
    assert (less < plain).all()


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [leave_one_out, gae(POLICY, steps=3)], ids=["leave_one_out", "gae"])
def test_same_over_devices(estimator):
    """Eight shards of an axis find what one finds: baselines are of all episodes, wherever they ran."""
    keys, active = jax.random.split(jax.random.key(1), 16), jnp.arange(16) < 13
    state, setting = grouped(estimator.init(jax.random.key(7), 1)), settings(0.9, 0.9)

    def share(keys, active, axis):
        episodes = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, active, HORIZON)
        context = (state, episodes, grouped(NORMALIZER), setting, axis)
        return estimator.coefficients(*context), jax.tree.leaves(estimator.learn(*context))

    whole, learnt = share(keys, active, None)
    parts, learnt_apart = jax.vmap(lambda k, a: share(k, a, "x"), axis_name="x")(
        keys.reshape(8, 2), active.reshape(8, 2)
    )
    np.testing.assert_allclose(parts.transpose(1, 0, 2).reshape(HORIZON, 16), whole, rtol=1e-5, atol=1e-6)
    for a, b in zip(learnt_apart, learnt, strict=True):
        np.testing.assert_allclose(a[3], b, rtol=1e-4, atol=1e-6)


def test_critic_learns_the_return_to_go():
    estimator, setting = gae(POLICY, steps=400), settings(0.9)._replace(critic_learning_rate=jnp.full(1, 1e-2))
    keys, normalizer = jax.random.split(jax.random.key(0), 256), grouped(NORMALIZER)
    episodes = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(256, bool), HORIZON, (40,))
    state = grouped(estimator.init(jax.random.key(7), 1))
    raw = estimator.coefficients(state, episodes, normalizer, setting, None)  # a critic of zero subtracts nothing
    np.testing.assert_allclose(
        raw, return_to_go_gradient.coefficients((), episodes, normalizer, setting, None), rtol=1e-6
    )
    learnt = estimator.learn(state, episodes, normalizer, setting, None)
    nothing = episodes.only(jnp.zeros(256, bool))
    again = estimator.learn(learnt, nothing, normalizer, setting, None)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, learnt))
    left = estimator.coefficients(learnt, episodes, normalizer, setting, None)
    assert jnp.var(left) + jnp.mean(left) ** 2 < 0.75 * (jnp.var(raw) + jnp.mean(raw) ** 2)
