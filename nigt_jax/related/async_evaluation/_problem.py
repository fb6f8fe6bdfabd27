r"""Policy evaluation from samples, as the saddle point of a quadratic: the problem, its answer, a sample's part.

A sample p has features :math:`\phi_p` of a state, :math:`\phi'_p` of the next one, and a reward :math:`r_p`. With
:math:`\psi_p = \phi_p - \gamma \phi'_p`, and means over all samples :math:`A = E \phi \psi^T`,
:math:`C = E \phi \phi^T`, :math:`b = E r \phi`, the parameters minimise the projected Bellman error,

.. math::
    \min_\theta \tfrac12 \|A \theta - b\|^2_{C^{-1}} + \tfrac\rho2 \|\theta\|^2
    = \min_\theta \max_w\ w^T (b - A \theta) - \tfrac12 w^T C w + \tfrac\rho2 \|\theta\|^2 .

Both sides are sums over samples only in the second form, for z = [theta, w].
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.config.systems import MarkovRewardProcess
from nigt_jax.errors import UserError


class Samples(NamedTuple):
    """Transitions of one fixed policy, those of node 1 first; float64. NumPy's on the host, and JAX's where traced.

    Attributes:
      features: of a state, [samples, features].
      difference: its features less the discount times those of the next state, [samples, features].
      reward: [samples].
    """

    features: Float[Any, "samples features"]
    difference: Float[Any, "samples features"]
    reward: Float[Any, " samples"]


def make_samples(problem: MarkovRewardProcess, seed: int) -> Samples:
    """The samples that a configuration describes, as NumPy arrays.

    A chain whose rows are Dirichlet, with rewards of states in [0, 1) and, but for ``tabular``, features that are even
    on the sphere and of which the first is then 1/2 for all.
    """
    rng, states = np.random.default_rng(seed), np.arange(problem.states)
    transitions = rng.dirichlet(np.full(problem.states, problem.concentration), problem.states)
    rewards = rng.uniform(size=problem.states)
    if problem.kind == "tabular":
        features = np.eye(problem.states)
        return Samples(features, features - problem.discount * transitions, rewards)
    features = rng.normal(size=(problem.states, problem.features))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features[:, 0] = 0.5
    visited = [int(rng.integers(problem.states))]
    for _ in range(problem.samples):
        visited.append(int(rng.choice(states, p=transitions[visited[-1]])))
    now, after = features[visited[:-1]], features[visited[1:]]
    return Samples(now, now - problem.discount * after, rewards[visited[:-1]])


def split_evenly(samples: int, nodes: int) -> tuple[Int[np.ndarray, " nodes"], Int[np.ndarray, " nodes"]]:
    """Each node's first sample and how many it has: they follow each other, and the first nodes have one more."""
    counts = np.full(nodes, samples // nodes, np.int32)
    counts[: samples % nodes] += 1
    return (np.cumsum(counts) - counts).astype(np.int32), counts


def closed_form(samples: Samples, regularization: float) -> Float[np.ndarray, " numbers"]:
    """The saddle point [theta, w].

    Raises:
      UserError: there is none, or more than one.
    """
    features, difference, reward = (np.asarray(x, np.float64) for x in samples)
    count, width = features.shape
    a, c, b = features.T @ difference / count, features.T @ features / count, features.T @ reward / count
    system = np.block([[regularization * np.eye(width), -a.T], [a, c]])
    if np.linalg.matrix_rank(c) < width or np.linalg.matrix_rank(system) < 2 * width:
        raise UserError(
            f"problem.samples: got {count} transitions that do not determine {width} features, allowed: so many that "
            "no feature is a combination of others in all of them, and no solution is as good as another"
        )
    return np.linalg.solve(system, np.concatenate([np.zeros(width), b]))


def sample_field(
    samples: Samples, regularization: Float[Array, ""], dual_ratio: Float[Array, ""], z: Float[Array, " numbers"]
) -> Float[Array, "samples numbers"]:
    """What each of some samples says of a descent in theta and an ascent in w, at z = [theta, w], to be descended.

    ``F_p(z) = [rho theta - psi (phi . w), beta phi (psi . theta + phi . w - r)]``
    """
    theta, w = jnp.split(z, 2)
    phi_w = samples.features @ w
    error = samples.difference @ theta + phi_w - samples.reward
    primal = regularization * theta[None, :] - samples.difference * phi_w[:, None]
    return jnp.concatenate([primal, dual_ratio * samples.features * error[:, None]], axis=1)
