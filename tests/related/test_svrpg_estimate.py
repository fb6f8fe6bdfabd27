"""SVRPG's estimates by enumeration of all episodes: bias, variance, weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from svrpg_oracle import softmax
from svrpg_rounds import configured, run

from nigt_jax.config.systems import TabularTask
from nigt_jax.related.svrpg_tracking import (
    Mdp,
    Tabular,
    coefficients,
    density_weights,
)
from nigt_jax.related.svrpg_tracking._tabular import Episodes

pytestmark = pytest.mark.usefixtures("in_64_bits")


STATES, ACTIONS, HORIZON, GAMMA = 2, 2, 3, 0.9
RNG = np.random.default_rng(8)
MDP = Mdp(
    np.array([0.3, 0.7]), RNG.dirichlet(np.ones(STATES), (STATES, ACTIONS)), RNG.normal(size=(1, STATES, ACTIONS))
)
HERE, THERE = RNG.normal(size=(2, STATES, ACTIONS))


def every_episode(theta):
    """All there are, and their probabilities: states, actions, rewards of shape [time, episodes]."""
    policy, rows, chances = softmax(theta), [], []
    for path in itertools.product(*[range(STATES), range(ACTIONS)] * HORIZON):
        states, actions = path[::2], path[1::2]
        chance = MDP.start[states[0]]
        for t in range(HORIZON):
            chance *= policy[states[t], actions[t]]
            if t + 1 < HORIZON:
                chance *= MDP.transition[states[t], actions[t], states[t + 1]]
        rows.append((states, actions, [MDP.rewards[0, s, a] for s, a in zip(states, actions, strict=True)]))
        chances.append(chance)
    states, actions, rewards = (np.array(x).T for x in zip(*rows, strict=True))
    return states, actions, rewards, np.array(chances)


def expected_return(theta):
    _, _, rewards, chances = every_episode(theta)
    return chances @ (GAMMA ** np.arange(HORIZON) @ rewards)


def slope(function, theta, width=1e-5):
    """Central differences."""
    found = np.zeros_like(theta)
    for at in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[at] = width
        found[at] = (function(theta + step) - function(theta - step)) / (2 * width)
    return found


def scores(theta, states, actions):
    """Of each step; shape [time, episodes, states, actions]."""
    out = np.zeros((*states.shape, STATES, ACTIONS))
    for at in np.ndindex(states.shape):
        out[at][states[at]] = -softmax(theta)[states[at]]
        out[at][states[at], actions[at]] += 1
    return out


def enumerated(per_decision=True, weighted=True):
    """What the library makes of each episode of HERE, for THERE: gradients [episodes, states, actions]; and chances."""
    states, actions, rewards, chances = every_episode(HERE)
    logs = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    weights, *_ = density_weights(jnp.asarray(logs)[:, None], per_decision, None)
    factors = coefficients(
        jnp.asarray(rewards)[:, None], weights if weighted else None, jnp.ones(64, bool), GAMMA, False
    )
    return np.einsum("te,tesa->esa", factors[:, 0], scores(THERE, states, actions)), chances


@pytest.mark.parametrize(("per_decision", "weighted"), [(True, True), (False, True), (True, False)])
def test_weighted_gradients_are_without_bias(per_decision, weighted):
    """The expectation over all episodes of one policy is the slope of the return at the other; not without weights."""
    gradients, chances = enumerated(per_decision, weighted)
    assert chances.sum() == pytest.approx(1)
    bias = np.einsum("e,esa->sa", chances, gradients) - slope(expected_return, THERE)
    assert np.abs(bias).max() < 1e-9 if weighted else np.abs(bias).max() > 0.05


def test_weights_of_decisions_have_less_variance_than_those_of_episodes():
    spread = []
    for per_decision in (True, False):
        gradients, chances = enumerated(per_decision)
        mean = np.einsum("e,esa->sa", chances, gradients)
        spread.append(chances @ np.square(gradients - mean).sum((1, 2)))
    assert spread[0] < 0.9 * spread[1]


def test_what_a_correction_leaves_of_the_variance_grows_as_the_square_of_the_distance():
    """None at the snapshot itself; without weights, as much is left, but the estimate is biased (above)."""
    states, actions, rewards, chances = every_episode(HERE)
    direction, left = (THERE - HERE) / np.linalg.norm(THERE - HERE), {}

    def spread(gradients):
        return chances @ np.square(gradients - np.einsum("e,esa->sa", chances, gradients)).sum((1, 2))

    def gradients(theta):
        logs = np.log(softmax(theta))[states, actions] - np.log(softmax(HERE))[states, actions]
        weights, *_ = density_weights(jnp.asarray(logs)[:, None], True, None)
        factors = coefficients(jnp.asarray(rewards)[:, None], weights, jnp.ones(64, bool), GAMMA, False)
        return np.einsum("te,tesa->esa", factors[:, 0], scores(theta, states, actions))

    here = gradients(HERE)
    for distance in (0, 0.001, 0.03, 0.1):
        left[distance] = spread(here - gradients(HERE + distance * direction)) / spread(here)
    assert left[0] == 0
    for distance in (0.03, 0.1):
        assert left[distance] / distance**2 == pytest.approx(left[0.001] / 0.001**2, rel=0.15)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_baseline_of_other_episodes_is_without_bias(wrong):
    """Over all pairs of episodes; where the baseline is not weighted with the decisions before it, it is biased."""
    states, actions, rewards, chances = every_episode(HERE)
    logs = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    pairs = np.array(list(itertools.product(range(64), repeat=2)))
    weights = np.exp(np.cumsum(logs, 0))[:, pairs]
    of = lambda rewards, weights: np.asarray(
        coefficients(jnp.asarray(rewards), weights, jnp.ones(2, bool), GAMMA, True)
    )
    factors = of(rewards[:, pairs] * weights, None) if wrong else of(rewards[:, pairs], jnp.asarray(weights))
    without = np.asarray(
        coefficients(jnp.asarray(rewards[:, pairs]), jnp.asarray(weights), jnp.ones(2, bool), GAMMA, False)
    )
    assert np.abs(factors - without).max() > 0.1
    both = chances[pairs[:, 0]] * chances[pairs[:, 1]]
    gradient = np.einsum("p,tpe,tpesa->sa", both / 2, factors, scores(THERE, states, actions)[:, pairs])
    bias = np.abs(gradient - slope(expected_return, THERE)).max()
    assert bias > 1e-3 if wrong else bias < 1e-9


def test_the_library_scores_and_weighs_as_the_tables_say():
    """Its own sums of scores and ratios, on all episodes, are those of NumPy."""
    states, actions, rewards, _ = every_episode(HERE)
    task = Tabular(TabularTask(states=STATES, actions=ACTIONS, horizon=HORIZON, discount=GAMMA, penalty=0.2), MDP)
    episodes = Episodes(*(jnp.asarray(x)[:, None] for x in (states, actions, rewards)), jnp.ones(64, bool))
    factors = RNG.normal(size=(HORIZON, 1, 64))
    found = task.score_sum(jnp.asarray(THERE)[None], episodes, jnp.asarray(factors))
    wanted = np.einsum("te,tesa->sa", factors[:, 0], scores(THERE, states, actions))
    np.testing.assert_allclose(found[0], wanted, atol=1e-12)
    ratio = task.log_ratio(jnp.asarray(HERE)[None], jnp.asarray(THERE)[None], episodes)
    wanted = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    np.testing.assert_allclose(ratio[:, 0], wanted, atol=1e-12)
    gradient = slope(lambda x: expected_return(x) - 0.1 * np.sum(x**2), THERE)
    exactly = jax.jit(lambda own: task.evaluate(own) | task.measures(own))(jnp.asarray(THERE))
    assert exactly["return_mean"] == pytest.approx(expected_return(THERE), rel=1e-12)
    assert exactly["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-7)


def test_episodes_are_drawn_as_the_process_says():
    """How often each of the 64 episodes comes, among 100,000: within 5 deviations."""
    task = Tabular(TabularTask(states=STATES, actions=ACTIONS, horizon=HORIZON), MDP)
    number = 100_000
    of = jax.jit(task.play)(jnp.asarray(HERE)[None], jax.random.key(1), jnp.ones(number, bool))
    states, actions, _, chances = every_episode(HERE)
    code = lambda s, a: sum((s[t] * ACTIONS + a[t]) * 4**t for t in range(HORIZON))
    seen = np.bincount(code(np.asarray(of.state)[:, 0], np.asarray(of.action)[:, 0]), minlength=64)
    wanted = chances[np.argsort(code(states, actions))]
    assert (np.abs(seen - number * wanted) < 5 * np.sqrt(number * wanted * (1 - wanted)) + 1).all()
    np.testing.assert_array_equal(of.reward[:, 0], MDP.rewards[0][np.asarray(of.state), np.asarray(of.action)][:, 0])


def test_a_penalty_is_not_weighted():
    """Where nothing is earned, parameters shrink as if there were no episodes, whatever their weights are."""
    config = configured(count=1)
    mdp = Mdp(np.full(3, 1 / 3), RNG.dirichlet(np.ones(3), (3, 2)), np.zeros((1, 3, 2)))
    start = RNG.normal(size=(1, 3, 2))
    _, _, after, found, _ = run(config, Tabular(config.task, mdp), jnp.asarray(start), 6)
    assert found.largest_weight.max() > 1.05
    np.testing.assert_allclose(after.params[-1], start * (1 - 0.3 * 0.1) ** 6, rtol=1e-12)


def test_weights_that_are_too_large_are_counted():
    logs = np.log([[[2.0, 0.5]], [[3.0, 1.0]], [[0.1, 8.0]]])
    weights, largest, capped = density_weights(jnp.asarray(logs), True, 2.5)
    np.testing.assert_allclose(weights[:, 0], [[2, 0.5], [2.5, 0.5], [0.6, 2.5]])
    assert largest == pytest.approx(6)
    assert capped == 2
    weights, largest, capped = density_weights(jnp.asarray(logs), False, None)
    np.testing.assert_allclose(weights[:, 0], [[0.6, 4]] * 3)
    assert largest == pytest.approx(4)
    assert capped == 0
