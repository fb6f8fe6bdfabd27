"""Episodes, scores and the four estimators against NumPy float64, compiled as one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY
from float64_estimators import Critic, gae, leave_one_out, policy_gradient, return_to_go
from float64_policy import Network, Policy, Statistics
from probes import alone, dense, grouped, play
from walk import HORIZON, SIZE, Walk, replayed, tree_of, vector_of

from nigt_jax import policies
from nigt_jax.config import ESTIMATORS
from nigt_jax.estimators import GaeHyperparameters, make_estimator, policy_gradient_sum

EPISODES, UNPLAYED, DISCOUNT, DECAY, STEPS, RATE = 20, 3, 0.9, 0.7, 5, 0.01
HIDDEN = (6, 5)
PACKAGES = policies.Policy(policies.GaussianMLP(SIZE, HIDDEN), SIZE, normalize=True)
OWN = Policy(Network(SIZE, HIDDEN, (SIZE, SIZE)))
MEAN, STD = np.array([0.1, -0.2], np.float32), np.array([0.3, 0.7], np.float32)
pytestmark = pytest.mark.usefixtures("compiled_quickly")
NAMES = ["policy_gradient", "return_to_go", "leave_one_out", "gae"]
LEARNT = "gae that has learnt"


def section(name):
    """An estimator's part of the configuration."""
    return ESTIMATORS[name](**({"critic_steps": STEPS} if name == "gae" else {}))


def some_parameters(like, seed):
    """Not those of a start, where heads are small and a critic is zero."""
    return tree_of(0.4 * np.random.default_rng(seed).normal(size=sum(x.size for x in jax.tree.leaves(like))), like)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def by_the_package(params, normalizer, critic, keys):
    """Episodes, each estimator's gradient, and the critic after it has learnt."""
    active = jnp.arange(EPISODES + UNPLAYED) < EPISODES
    batch = play(Walk(), PACKAGES, params, normalizer, keys, active, HORIZON, (7, 2))
    settings = GaeHyperparameters(*(jnp.full(1, x, jnp.float32) for x in (DISCOUNT, DECAY, RATE)))
    all_of = {name: make_estimator(section(name), PACKAGES) for name in NAMES}

    def factors(name, state):
        return all_of[name].coefficients(state, batch, grouped(normalizer), settings, None)

    learnt = all_of["gae"].learn(grouped(critic), batch, grouped(normalizer), settings, None)
    found = [factors(name, grouped(critic) if name == "gae" else ()) for name in NAMES] + [factors("gae", learnt)]
    total = lambda own: policy_gradient_sum(PACKAGES, grouped(params), grouped(normalizer), batch, own)
    return dense(batch), jax.vmap(total)(jnp.stack(found)), alone(learnt)


@functools.cache
def both():
    """What the package finds, and what NumPy does."""
    params = some_parameters(jax.eval_shape(PACKAGES.init, jax.random.key(0)), 1)
    normalizer = PACKAGES.init_normalizer()._replace(mean=jnp.asarray(MEAN), std=jnp.asarray(STD))
    fresh = make_estimator(section("gae"), PACKAGES).init
    critic = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda key: fresh(key, SIZE), jax.random.key(3)))
    critic = critic._replace(params=some_parameters(critic.params, 4), scale=jnp.float32(1.5))
    arguments = (params, normalizer, critic, jax.random.split(jax.random.key(2), EPISODES + UNPLAYED))
    packages = jax.device_get(by_the_package(*arguments))

    statistics = Statistics(SIZE)
    statistics.mean, statistics.std = np.float64(MEAN), np.float64(STD)
    seen = packages[0]
    episodes = [replayed(seen.observation[0, k], seen.sample[:, k]) for k in range(EPISODES)]
    own = Critic(vector_of(critic.params), SIZE, HORIZON, scale=1.5)
    learnt = own.learn(episodes, statistics, DISCOUNT, STEPS, RATE)
    factors = {
        "policy_gradient": policy_gradient(episodes, DISCOUNT),
        "return_to_go": return_to_go(episodes, DISCOUNT),
        "leave_one_out": leave_one_out(episodes, DISCOUNT),
        "gae": gae(episodes, DISCOUNT, DECAY, own, statistics),
        LEARNT: gae(episodes, DISCOUNT, DECAY, learnt, statistics),
    }
    vector = vector_of(params)
    score = lambda e, f: OWN.score(vector, statistics.standardise(e.observation), e.u, f)
    gradients = {name: sum(map(score, episodes, f)) for name, f in factors.items()}
    return packages, (episodes, gradients, learnt, vector, statistics)


def test_episodes():
    """Observations, rewards, ends and returns are those of the environment; what was not played is nothing."""
    (seen, *_), (episodes, *_) = both()
    assert seen.lengths.tolist() == [len(e.reward) for e in episodes] + [0] * UNPLAYED
    assert len(set(seen.lengths[:EPISODES].tolist())) == HORIZON
    for k, episode in enumerate(episodes):
        steps = len(episode.reward)
        np.testing.assert_allclose(seen.observation[:steps, k], episode.observation, atol=1e-6)
        np.testing.assert_allclose(seen.reward[:steps, k], episode.reward, atol=2e-6)
        np.testing.assert_allclose(seen.returns[k], episode.reward.sum(), atol=5e-6)


def test_the_score_is_the_gradient_of_the_density():
    """The oracle's own, by finite differences."""
    _, (episodes, _, _, vector, statistics) = both()
    episode, h = max(episodes, key=lambda e: len(e.reward)), 1e-6
    x, factors = statistics.standardise(episode.observation), np.arange(1.0, HORIZON + 1)
    value = lambda v: factors @ OWN.log_density(v, x, episode.u)
    differences = [(value(vector + h * e) - value(vector - h * e)) / (2 * h) for e in np.eye(len(vector))]
    np.testing.assert_allclose(OWN.score(vector, x, episode.u, factors), differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("number", "name"), list(enumerate([*NAMES, LEARNT])))
def test_gradients(number, name):
    (_, packages, _), (_, gradients, *_) = both()
    wanted, got = gradients[name], vector_of(jax.tree.map(lambda x: x[number], packages))
    # Adam divides gradients by their size, rounding of small ones included.
    assert np.linalg.norm(got - wanted) < (1e-4 if name == LEARNT else 1e-6) * np.linalg.norm(wanted)


def test_what_a_critic_learns():
    (_, _, packages), (_, _, learnt, *_) = both()
    np.testing.assert_allclose(vector_of(packages.params), learnt.vector, atol=2e-6)
