"""A small environment, in JAX for the package, and in NumPy to check what the package says happened in it."""

import jax
import jax.numpy as jnp
import numpy as np
from float64_estimators import Episode
from probes import State, dense, play

HORIZON, SIZE = 4, 2


def move(xp, x, action):
    """The next place, its reward, and whether that ends the episode."""
    after = 0.8 * x + 0.5 * action + 0.1 * xp.sin(x[::-1])
    return after, 1 - (after**2).sum() + 0.3 * action[0], xp.sin(7 * after[0]) > 0.6


class Walk:
    """Two numbers that wander; some places end the episode."""

    observation_size = action_size = SIZE

    def reset(self, key):
        """Somewhere near the middle."""
        return State(0.4 * jax.random.normal(key, (SIZE,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        """One move."""
        after, reward, end = move(jnp, state.obs, action)
        return State(after, reward, end.astype(jnp.float32))


def replayed(start, u):
    """The episode that begins there and acts by tanh(u), in float64."""
    x, observations, rewards = np.asarray(start, np.float64), [], []
    for action in np.tanh(np.asarray(u, np.float64)):
        observations.append(x)
        x, reward, end = move(np, x, action)
        rewards.append(reward)
        if end:
            break
    return Episode(np.array(observations), np.asarray(u, np.float64)[: len(rewards)], np.array(rewards))


def package_play(policy, params, mean, std, keys):
    """What the package plays from these keys, with these statistics: episodes side by side."""
    normalizer = policy.init_normalizer()._replace(mean=mean, std=std)
    return dense(play(Walk(), policy, params, normalizer, keys, jnp.ones(keys.shape[0], bool), HORIZON))


def vector_of(tree):
    """A tree of the package as one vector, in the order of the names."""
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])


def tree_of(vector, like):
    """The other way round, in float32; `like` has the shapes."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([x.size for x in leaves])
    parts = np.split(np.asarray(vector, np.float32), ends[:-1])
    return jax.tree.unflatten(structure, [jnp.asarray(p.reshape(x.shape)) for p, x in zip(parts, leaves, strict=True)])
