"""The algorithm as its authors write it, in NumPy and float64, and the problem on which it is compared."""

import jax.numpy as jnp
import numpy as np

SIZE = 10


def nigt_loop(gradient, theta, steps, learning_rate, momentum):
    """(iterate, query point) after each step. `gradient` takes (query point, k); hyperparameters are functions of k."""
    query, d, path = theta, None, []
    for k in range(steps):
        g, beta = gradient(query, k), momentum(k)
        d = g if d is None else beta * d + (1 - beta) * g
        norm = np.sqrt(np.sum(d**2))
        before, theta = theta, theta - (learning_rate(k) * d / norm if norm > 0 else 0)
        beta = momentum(k + 1)
        query = theta + beta / (1 - beta) * (theta - before)
        path.append((theta, query))
    return [np.stack(points) for points in zip(*path, strict=True)]


def noisy_quadratic(steps, seed=0):
    """(positive definite H, noise for every step, start) in float64; gradient number k at q is H q + noise[k]."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]
    hessian = basis @ np.diag(np.linspace(0.1, 1.0, SIZE)) @ basis.T
    return hessian, 0.3 * rng.normal(size=(steps, SIZE)), rng.normal(size=SIZE)


def as_tree(vector):
    """The vector as a tree of two leaves of different ranks."""
    return {"a": vector[:6].reshape(3, 2), "b": vector[6:]}


def as_vector(tree):
    """The tree as a vector again."""
    return jnp.concatenate([tree["a"].reshape(-1), tree["b"]])
