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

    def along(group: Array, steps: Steps, p: Any) -> tuple[Array, Array]:
        """The log-densities of some steps, and their derivatives along v."""
        statistics, vector = jax.tree.map(lambda x: x[group], (normalizer, vectors))
        log_density = lambda q: policy.log_density(q, statistics, steps.observation, steps.sample)
        return jax.jvp(log_density, (p,), (vector,))

    of_group = lambda group: jax.tree.map(lambda x: x[group], params)
    scores = trajectories.totals(lambda group, steps: along(group, steps, of_group(group))[1])

    def add(group: Array, total: Any, steps: Steps) -> Any:
        factors = jnp.where(steps.valid, coefficients[steps.time, steps.episode], 0)

        def surrogate(p: Any) -> Array:
            density, change = along(group, steps, p)
            return jnp.sum(factors * (scores[steps.episode] * density + change))

        return jax.tree.map(jnp.add, total, jax.grad(surrogate)(of_group(group)))

    return trajectories.fold(add, jax.tree.map(jnp.zeros_like, params))
