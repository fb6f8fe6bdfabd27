"""Importance weights: what episodes of one policy say of another."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.policies import Normalizer, Policy
from nigt_jax.rollout import Steps, Trajectories


@jax.named_scope("importance")
def importance_weights(
    policy: Policy, params: Any, other: Any, normalizer: Normalizer, trajectories: Trajectories
) -> Float[Array, " episodes"]:
    r"""Each episode's :math:`\omega(\tau) = \prod_t \pi_{\text{other}}(u_t | s_t) / \pi_\theta(u_t | s_t)`.

    How likely an episode is under the other policy, as a multiple of how likely it was: with these weights a mean over
    episodes of :math:`\pi_\theta` is without bias for the other one. The environment's part cancels. Weights have the
    expectation 1, and a variance that grows exponentially with the length of episodes and the distance of the policies.

    Args:
      policy: the policy that acted.
      params: the parameters of each group's policy; leaves have a leading axis of groups.
      other: those that the episodes are to tell of, likewise.
      normalizer: the observation statistics of both, likewise.
      trajectories: the episodes that :math:`\pi_\theta` played.

    Returns:
      The weights; 1 of an episode that was not played, inf where float32 has no number.
    """
    chex.assert_trees_all_equal_shapes(params, other)
    chex.assert_tree_shape_prefix((params, normalizer), (trajectories.groups,))

    def ratio(group: Array, steps: Steps) -> Array:
        here, there, statistics = jax.tree.map(lambda x: x[group], (params, other, normalizer))
        log_density = lambda p: policy.log_density(p, statistics, steps.observation, steps.sample)
        return log_density(there) - log_density(here)

    return jnp.exp(trajectories.totals(ratio))
