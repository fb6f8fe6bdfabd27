"""How a policy gradient changes along a vector: Hessian-vector products from trajectories."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.policies import Normalizer, Policy
from nigt_jax.rollout import Steps, Trajectories


@jax.named_scope("hessian")
def hessian_vector_sum(
    policy: Policy,
    params: Any,
    normalizer: Normalizer,
    trajectories: Trajectories,
    coefficients: Float[Array, "time episodes"],
    vectors: Any,
) -> Any:
    r"""Sum over each group's episodes of :math:`\langle \nabla \log p(\tau), v \rangle\, g(\tau) + \nabla g(\tau)\, v`.

    Here :math:`g(\tau) = \sum_t A_t \nabla \log \pi_\theta(u_t | s_t)` is an episode's own policy gradient and
    :math:`\nabla \log p(\tau)` the sum of all its scores. The expectation is how the expectation of g changes along v:
    the first term for the episodes being others, the second for their scores being others. So it holds for every
    estimator whose factors A_t depend on the policy through the episodes alone. No matrix is formed.

    Args:
      policy: the policy that acted.
      params: the parameters of each group's policy; leaves have a leading axis of groups, here and in the result.
      normalizer: its observation statistics, likewise.
      trajectories: the episodes that it played.
      coefficients: the factors A_t.
      vectors: v of each group, like `params`.

    References:
      Shen, Ribeiro, Hassani, Qian & Mi, `Hessian Aided Policy Gradient
      <https://proceedings.mlr.press/v97/shen19d.html>`_, 2019
    """
    chex.assert_shape(coefficients, (trajectories.horizon, trajectories.lengths.size))
    chex.assert_trees_all_equal_shapes(params, vectors)
    chex.assert_tree_shape_prefix((params, normalizer), (trajectories.groups,))
    each = trajectories.lengths.size // trajectories.groups

    def of_group(group: Array) -> Any:
        return jax.tree.map(lambda x: x[group], (params, normalizer, vectors))

    def add_scores(group: Array, total: Array, steps: Steps) -> Array:
        own, statistics, vector = of_group(group)

        def log_density(p: Any) -> Array:
            return policy.log_density(p, statistics, steps.observation, steps.sample)

        along = jax.jvp(log_density, (own,), (vector,))[1]
        return total.at[steps.episode - group * each].add(jnp.where(steps.valid, along, 0))

    scores = trajectories.fold(add_scores, jnp.zeros((trajectories.groups, each))).reshape(-1)

    def add(group: Array, total: Any, steps: Steps) -> Any:
        own, statistics, vector = of_group(group)
        factors = jnp.where(steps.valid, coefficients[steps.time, steps.episode], 0)

        def gradient(p: Any, weights: Array) -> Any:
            log_density = lambda q: policy.log_density(q, statistics, steps.observation, steps.sample)
            return jax.grad(lambda q: jnp.sum(weights * log_density(q)))(p)

        others = gradient(own, factors * scores[steps.episode])
        change = jax.jvp(lambda p: gradient(p, factors), (own,), (vector,))[1]
        return jax.tree.map(lambda *x: sum(x[1:], start=x[0]), total, others, change)

    return trajectories.fold(add, jax.tree.map(jnp.zeros_like, params))
