"""The one-step game: what both estimators estimate, by enumeration, and how their variances grow."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.related.dgpg.variance import Game, baselines, gradients, measure, unit_game

AGENTS = 4
JOINT = np.array(list(itertools.product(range(AGENTS), repeat=AGENTS)), np.int32)


def probabilities(logits):
    """Of each agent's choices, and of all joint ones."""
    own = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return own, np.array([np.prod([own[i, a] for i, a in enumerate(joint)]) for joint in JOINT])


def enumerated(logits, weights, target):
    """E[J s], E[g s], E[J] and E[g] of every agent, in float64, with plain loops."""
    own, joint_probability = probabilities(logits)
    shared, guided = np.zeros(logits.shape), np.zeros(logits.shape)
    mean_cost, mean_guidance = 0.0, np.zeros(AGENTS)
    for joint, probability in zip(JOINT, joint_probability, strict=True):
        x = -np.array(target, float)
        for i, a in enumerate(joint):
            x[a] += weights[i, a]
        cost = 0.5 * x @ x
        mean_cost += probability * cost
        for i, a in enumerate(joint):
            score = np.eye(AGENTS)[a] - own[i]
            guidance = x[a] * weights[i, a]
            shared[i] += probability * cost * score
            guided[i] += probability * guidance * score
            mean_guidance[i] += probability * guidance
    return shared, guided, mean_cost, mean_guidance


def game(unit):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(AGENTS, AGENTS))
    weights = np.ones((AGENTS, AGENTS)) if unit else rng.uniform(0.5, 2, size=(AGENTS, AGENTS))
    target = rng.uniform(0, 2, size=AGENTS)
    return logits, weights, target, Game(*(jnp.asarray(x, jnp.float32) for x in (logits, weights, target)))


def expected(played):
    """Expectations of the estimators under test, over all joint actions; [agents, servers] each."""
    of_agents = [jax.jit(jax.vmap(lambda joint, i=i: gradients(played, joint, i)))(JOINT) for i in range(AGENTS)]
    _, probability = probabilities(np.asarray(played.logits, np.float64))
    return [np.array([probability @ np.asarray(own[k], np.float64) for own in of_agents]) for k in (0, 1)]


@pytest.mark.parametrize("unit", [True, False])
def test_both_expectations_and_the_self_term(unit):
    """Equal for unit weights; else they differ by E[|z|^2/2 s], which is p_a (w_a^2/2 - sum_b p_b w_b^2/2)."""
    logits, weights, target, played = game(unit)
    shared, guided = expected(played)
    wanted_shared, wanted_guided, *_ = enumerated(logits, weights, target)
    np.testing.assert_allclose(shared, wanted_shared, atol=3e-6)
    np.testing.assert_allclose(guided, wanted_guided, atol=3e-6)
    own, _ = probabilities(logits)
    half = weights**2 / 2
    self_term = own * (half - (own * half).sum(1, keepdims=True))
    np.testing.assert_allclose(wanted_guided - wanted_shared, self_term, atol=1e-12)
    np.testing.assert_allclose(guided - shared, self_term, atol=5e-6)
    assert (np.abs(self_term).max() > 0.05) != unit


def test_the_shared_estimate_is_the_gradient_of_the_expected_cost():
    logits, weights, target, played = game(False)
    shared, _ = expected(played)
    step = 1e-5
    for i, a in itertools.product(range(AGENTS), repeat=2):
        moved = [logits.copy(), logits.copy()]
        moved[0][i, a] += step
        moved[1][i, a] -= step
        up, down = (enumerated(x, weights, target)[2] for x in moved)
        assert shared[i, a] == pytest.approx((up - down) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("unit", [True, False])
def test_baselines_are_expectations(unit):
    logits, weights, target, played = game(unit)
    _, _, cost, guidance = enumerated(logits, weights, target)
    found = jax.jit(baselines)(played)
    assert float(found[0]) == pytest.approx(cost, rel=1e-5)
    np.testing.assert_allclose(found[1], guidance, atol=2e-6)


def test_the_measured_variance_is_that_of_the_enumeration():
    logits, weights, target, played = game(False)
    own, probability = probabilities(logits)
    shared, guided, cost, guidance = enumerated(logits, weights, target)
    second = np.zeros(2)
    for joint, weight in zip(JOINT, probability, strict=True):
        x = np.bincount(joint, weights=weights[np.arange(AGENTS), joint], minlength=AGENTS) - target
        score = np.eye(AGENTS)[joint[0]] - own[0]
        signal = np.array([x @ x / 2 - cost, x[joint[0]] * weights[0, joint[0]] - guidance[0]])
        second += weight * signal**2 * (score @ score)
    wanted = second - [shared[0] @ shared[0], guided[0] @ guided[0]]
    found = jax.jit(measure, static_argnums=2)(played, jax.random.key(0), 40_000)
    np.testing.assert_allclose(found, wanted, rtol=0.04)


@pytest.mark.parametrize("agents", [5, 20, 80, pytest.param(320, marks=pytest.mark.slow)])
def test_the_shared_cost_is_noisier_the_more_agents_there_are_and_guidance_is_not(agents):
    """The closed forms of even probabilities: the first grows like N / 2, the second is below 1."""
    found = jax.jit(measure, static_argnums=2)(unit_game(agents), jax.random.key(agents), 8192)
    wanted = [(agents - 1) ** 3 / (2 * agents**2), ((agents - 1) / agents) ** 3]
    np.testing.assert_allclose(found, wanted, rtol=0.1)
