"""Why broken episodes are charged and not left out: what either does to the expectation of a gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import (
    Costly,
    Faulty,
    Quadratic,
    alone,
    deviations,
    expected_gradient,
    grouped,
    linear_policy,
    play,
)

from nigt_jax.estimators import EstimatorHyperparameters, policy_gradient, policy_gradient_sum

HORIZON, EPISODES, BATCHES, RATE, CHARGE = 3, 4, 6000, 0.2, -1.5
POLICY = linear_policy()
PARAMS = POLICY.init(jax.random.key(0))
NORMALIZER = POLICY.init_normalizer()


class FaultyAndCharged(Quadratic):
    """What is expected of the faulty probe: a step earns its reward where nothing broke up to it, else the charge."""

    @staticmethod
    def rewards(params, horizon):
        whole = [(1 - RATE) ** (t + 1) for t in range(horizon)]
        return [q * r + (1 - q) * CHARGE for q, r in zip(whole, Quadratic.rewards(params, horizon), strict=True)]


def estimates(environment):
    """Gradients of small batches, [batch, parameter]: of all episodes charged; the sum of the whole ones; their number.

    The episodes are the same.
    """
    setting = EstimatorHyperparameters(jnp.ones(1))

    def gradient(episodes):
        factors = policy_gradient.coefficients((), episodes, grouped(NORMALIZER), setting, None)
        total = alone(policy_gradient_sum(POLICY, grouped(PARAMS), grouped(NORMALIZER), episodes, factors))
        return jnp.stack([total["params"][name] for name in "bcw"])

    def one(key):
        keys, everyone = jax.random.split(key, EPISODES), jnp.ones(EPISODES, bool)
        episodes = play(environment, POLICY, PARAMS, NORMALIZER, keys, everyone, HORIZON, (2,), charge=CHARGE)
        whole = ~episodes.outcomes.diverged
        return gradient(episodes) / EPISODES, gradient(episodes.only(whole)), whole.sum()

    made = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), BATCHES))
    return [np.asarray(x, np.float64) for x in made]


def left_out(total, number):
    """The mean over whole episodes; a batch without any has none."""
    return total[number > 0] / number[number > 0, None]


@pytest.fixture(scope="module")
def faulty():
    return estimates(Faulty("reward", RATE))


@pytest.fixture(scope="module")
def costly():
    return estimates(Costly())


def test_leaving_out_what_breaks_whatever_the_policy_does_is_unbiased(faulty):
    """For the return without breaking; not where the sum is divided by the number of all."""
    _, total, number = faulty
    truth = expected_gradient(Quadratic(), PARAMS, HORIZON, 1.0, from_start=True)
    assert deviations(left_out(total, number), truth).max() < 4
    assert deviations(total / EPISODES, truth).max() > 8


def test_charging_it_is_unbiased_for_the_charged_return_and_no_other(faulty):
    """Each step's share is as much smaller as it is seldom reached."""
    charged, _, _ = faulty
    wanted = expected_gradient(FaultyAndCharged(), PARAMS, HORIZON, 1.0, from_start=True)
    assert deviations(charged, wanted).max() < 4
    assert deviations(charged, expected_gradient(Quadratic(), PARAMS, HORIZON, 1.0, from_start=True)).max() > 8


def test_leaving_out_what_the_policy_breaks_teaches_it_to_break(costly):
    """Whole episodes all earn -H, so their return has the gradient 0. The mean of their gradients is another one.

    At step t it weighs -(H - t), what follows, with the score's expectation among whole episodes, which is not 0 but
    grad log P(whole) / H: in all -(H + 1) / 2 grad log P(whole), away from whole episodes.
    """
    charged, total, number = costly

    def log_whole(inner):
        w, b, c = (inner[name] for name in "wbc")
        return HORIZON * jnp.log(jax.scipy.stats.norm.cdf((jnp.arctanh(0.5) - w - b) / nn.softplus(c)))

    slope = jax.grad(log_whole)(PARAMS["params"])
    towards_whole = np.array([float(slope[name]) for name in "bcw"])
    assert deviations(left_out(total, number), -(HORIZON + 1) / 2 * towards_whole).max() < 4
    assert left_out(total, number).mean(0) @ towards_whole < 0 < charged.mean(0) @ towards_whole
