"""The paper's policy is the function that NumPy says it is, and so is its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.policies import GaussianMLP

WIDTHS = (5, 4)


def oracle(params, observation, min_std):
    """The same in float64, from its definition: tanh layers, then a dense one for each of mean and deviation."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
    hidden = np.asarray(observation, np.float64)
    for number in range(len(WIDTHS)):
        layer = params[f"Dense_{number}"]
        hidden = np.tanh(hidden @ layer["kernel"] + layer["bias"])
    mean, std = (hidden @ params[name]["kernel"] + params[name]["bias"] for name in ("mean", "std"))
    return mean, np.log1p(np.exp(std)) + min_std


def with_biases(network, observation):
    """Parameters of which none is zero, so that each of them matters."""
    params = network.init(jax.random.key(0), observation)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.5 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return structure.unflatten(noisy)


@pytest.mark.parametrize("actions", [1, 3])
@pytest.mark.parametrize("batch", [(), (7,), (2, 3)], ids=str)
def test_mean_and_deviation(actions, batch):
    network = GaussianMLP(actions, WIDTHS, min_std=0.01)
    observation = jax.random.normal(jax.random.key(2), (*batch, 6))
    params = with_biases(network, observation)
    for got, wanted in zip(network.apply(params, observation), oracle(params, observation, 0.01), strict=True):
        assert got.shape == (*batch, actions)
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-6)


def test_gradient():
    """Against central differences of the oracle, along every single parameter."""
    network = GaussianMLP(2, WIDTHS, min_std=0.01)
    observation = jax.random.normal(jax.random.key(2), (7, 6))
    params = with_biases(network, observation)
    weigh = lambda mean, std: (mean * np.arange(1, 15, dtype=np.float32).reshape(7, 2)).sum() + (std**2).sum()
    gradient = jax.grad(lambda p: weigh(*network.apply(p, observation)))(params)
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x, np.float64), params))

    def moved(leaf, place, by):
        other = [x.copy() for x in leaves]
        other[leaf].flat[place] += by
        return weigh(*oracle(structure.unflatten(other), observation, 0.01))

    for leaf, got in enumerate(jax.tree.leaves(gradient)):
        wanted = [(moved(leaf, k, 1e-5) - moved(leaf, k, -1e-5)) / 2e-5 for k in range(got.size)]
        np.testing.assert_allclose(got.ravel(), wanted, rtol=1e-4, atol=1e-4)


def test_the_first_policy_is_nearly_the_same_in_every_state():
    network = GaussianMLP(3)
    observations = jax.random.normal(jax.random.key(2), (100, 11))
    mean, std = network.apply(network.init(jax.random.key(0), observations), observations)
    assert jnp.abs(mean).max() < 0.3
    assert jnp.abs(std - jnp.log(2)).max() < 0.2
    assert jnp.ptp(mean, axis=0).min() > 1e-3  # but not exactly: heads of zeros would hide the hidden layers
