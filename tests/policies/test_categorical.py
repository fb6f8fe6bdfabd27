"""The categorical policy: its draws, densities and gradients against what can be counted."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from probes import one_policy

from nigt_jax.discounting import return_to_go
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.policies import Categorical, CategoricalMLP, Policy
from nigt_jax.rollout import rollout

PAYS = np.array([1.0, -2.0, 4.0])


@struct.dataclass
class State:
    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Choice:
    """One step that pays by the action, which must come as a whole number."""

    num_actions = 3

    def reset(self, key):
        return State(jax.random.bernoulli(key, 0.3, (1,)).astype(jnp.float32), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        assert action.shape == ()
        assert action.dtype == jnp.int32
        sign = 1 - 2 * state.obs[0]  # the best action of one start is the worst of the other
        return state.replace(reward=sign * jnp.asarray(PAYS, jnp.float32)[action], done=jnp.ones(()))


def test_densities_are_log_probabilities():
    logits = jnp.asarray(np.random.default_rng(0).normal(0, 2, (5, 4)), jnp.float32)
    wanted = np.log(
        np.exp(np.asarray(logits, np.float64)) / np.exp(np.asarray(logits, np.float64)).sum(1, keepdims=True)
    )
    for action in range(4):
        sample = jnp.full((5, 1), float(action))
        np.testing.assert_allclose(jax.jit(Categorical(logits).log_density)(sample), wanted[:, action], rtol=1e-5)
    np.testing.assert_array_equal(Categorical.action(Categorical(logits).mode()), np.asarray(logits).argmax(1))


def test_draws_are_as_frequent_as_they_say():
    logits = jnp.log(jnp.asarray([0.5, 0.2, 0.3]))
    drawn = Categorical(jnp.broadcast_to(logits, (40_000, 3))).sample(jax.random.key(0))
    assert drawn.shape == (40_000, 1)
    np.testing.assert_allclose(np.bincount(Categorical.action(drawn)) / 40_000, [0.5, 0.2, 0.3], atol=0.01)


def test_the_gradient_is_unbiased():
    """Against the derivative of the expected return, which is a sum over two starts and three actions."""
    policy = Policy(CategoricalMLP(3, (4,)), observation_size=1, normalize=False)
    key, episodes = jax.random.key(1), 40_000
    params = jax.tree.map(lambda x: x + 0.7 * jax.random.normal(key, x.shape), policy.init(key))
    normalizer = policy.init_normalizer()

    def expected(params):
        starts = jnp.asarray([[0.0], [1.0]])
        (logits,) = policy.network.apply(params, starts)
        pays = jnp.asarray([1.0, -1.0])[:, None] * jnp.asarray(PAYS, jnp.float32)[None]
        return jnp.asarray([0.7, 0.3]) @ (jax.nn.softmax(logits) * pays).sum(1)

    @jax.jit
    def estimate(params, key):
        tasks = one_policy(params, normalizer, jax.random.split(key, episodes), jnp.ones(episodes, bool))
        played = rollout(Choice(), policy, tasks, 3, (500,), lanes_last=True)
        factors = return_to_go(played.rewards(jnp.ones(1)), jnp.ones(episodes))
        one = lambda tree: jax.tree.map(lambda x: x[None], tree)
        total = policy_gradient_sum(policy, one(params), one(normalizer), played, factors)
        return played.lengths, jax.tree.map(lambda x: x[0] / episodes, total)

    lengths, got = estimate(params, jax.random.key(2))
    assert (np.asarray(lengths) == 1).all()
    for ours, wanted in zip(jax.tree.leaves(got), jax.tree.leaves(jax.grad(expected)(params)), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=5 * 3 / np.sqrt(episodes))  # of scores and pays of about 1 and 3
        assert np.abs(wanted).max() > 0.01
