"""Policy gradients as weighted sums of scores: what every estimator here has in common."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.config import EstimatorConfig
from nigt_jax.policies import Normalizer, Policy
from nigt_jax.rollout import Steps, Trajectories


class EstimatorHyperparameters(NamedTuple):
    """What every estimator may be tuned by, for each group; traced, so that runs with other values share one program.

    Attributes:
      discount: discount factor of the objective, per step.
    """

    discount: Float[Array, "*groups"]


def discount_only(section: EstimatorConfig) -> EstimatorHyperparameters:
    """The hyperparameters of an estimator that has no others."""
    return EstimatorHyperparameters(jnp.asarray(section.discount, jnp.float32))


class Estimator(NamedTuple):
    """One way to weigh the scores of a batch of episodes.

    Episodes come in groups, each with a policy, statistics and settings of its own, whose leaves have a leading axis of
    groups. What one group's episodes are weighed with never depends on another group.

    Attributes:
      init: maps (key, observation size) to one group's own state, () where it has none.
      coefficients: maps (state, trajectories, normalizer, hyperparameters, axis_name) to the factor A_t of each score.
        It may look at all episodes of the group, wherever on the axis they were played, but A_t may depend on the
        step's own action only through what follows it.
      learn: maps (state, trajectories, normalizer, hyperparameters, axis_name) to the next state, for later rounds.
      hyperparameters: maps the estimator's section of the configuration to its traced hyperparameters.
    """

    init: Callable[[PRNGKeyArray, int], Any]
    coefficients: Callable[..., Float[Array, "time episodes"]]
    learn: Callable[..., Any]
    hyperparameters: Callable[[EstimatorConfig], Any] = discount_only


@jax.named_scope("gradient")
def policy_gradient_sum(
    policy: Policy,
    params: Any,
    normalizer: Normalizer,
    trajectories: Trajectories,
    coefficients: Float[Array, "time episodes"],
) -> Any:
    r"""Sum over each group's episodes of :math:`\sum_t A_t \nabla \log \pi_\theta(u_t | s_t)`, a tree like `params`.

    The density is that of the stored sample u. Steps after an episode's end count and cost nothing.

    Args:
      policy: what has acted.
      params: parameters of each group's policy; leaves have a leading axis of groups, here and in the result.
      normalizer: likewise.
      trajectories: what it did.
      coefficients: the factors A_t.
    """
    chex.assert_shape(coefficients, (trajectories.horizon, trajectories.lengths.size))
    chex.assert_tree_shape_prefix((params, normalizer), (trajectories.groups,))

    def add(group: Array, total: Any, steps: Steps) -> Any:
        own, statistics = jax.tree.map(lambda x: x[group], (params, normalizer))
        factors = jnp.where(steps.valid, coefficients[steps.time, steps.episode], 0)

        def surrogate(p: Any) -> Array:
            return jnp.sum(factors * policy.log_density(p, statistics, steps.observation, steps.sample))

        return jax.tree.map(jnp.add, total, jax.grad(surrogate)(own))

    return trajectories.fold(add, jax.tree.map(jnp.zeros_like, params))


@jax.named_scope("fisher")
def fisher_vector_sum(
    policy: Policy, params: Any, normalizer: Normalizer, trajectories: Trajectories, vectors: Any
) -> Any:
    r"""Sum over each group's steps of :math:`s_t \langle s_t, v \rangle`, where s_t is the score of the step.

    The score is :math:`s_t = \nabla \log \pi_\theta(u_t | s_t)`, and the sum an empirical Fisher matrix times v. The
    matrix is never formed: a product costs one forward-mode and one reverse-mode derivative of the log-density.

    Args:
      policy: the policy that acted.
      params: the parameters of each group's policy; leaves have a leading axis of groups, here and in the result.
      normalizer: its observation statistics, likewise.
      trajectories: the episodes that it played.
      vectors: v of each group, like `params`.
    """
    chex.assert_trees_all_equal_shapes(params, vectors)
    chex.assert_tree_shape_prefix((params, normalizer), (trajectories.groups,))

    def add(group: Array, total: Any, steps: Steps) -> Any:
        own, statistics, vector = jax.tree.map(lambda x: x[group], (params, normalizer, vectors))

        def log_density(p: Any) -> Array:
            return policy.log_density(p, statistics, steps.observation, steps.sample)

        along, transpose = jax.jvp(log_density, (own,), (vector,))[1], jax.vjp(log_density, own)[1]
        (product,) = transpose(jnp.where(steps.valid, along, 0))
        return jax.tree.map(jnp.add, total, product)

    return trajectories.fold(add, jax.tree.map(jnp.zeros_like, params))


@jax.named_scope("fisher")
def fisher_matrix_sum(
    policy: Policy, params: Any, normalizer: Normalizer, trajectories: Trajectories
) -> Float[Array, "groups parameters parameters"]:
    r"""Sum over each group's steps of :math:`s_t s_t^T`, where s_t is the score of the step.

    Its products with vectors are those of :func:`fisher_vector_sum`; a parameter's place is that of ``ravel_pytree``.

    Args:
      policy: the policy that acted.
      params: the parameters of each group's policy; leaves have a leading axis of groups.
      normalizer: its observation statistics, likewise.
      trajectories: the episodes that it played.
    """
    chex.assert_tree_shape_prefix((params, normalizer), (trajectories.groups,))
    size = sum(x[0].size for x in jax.tree.leaves(params))

    def add(group: Array, total: Array, steps: Steps) -> Array:
        own, statistics = jax.tree.map(lambda x: x[group], (params, normalizer))

        def score(observation: Array, sample: Array) -> Array:
            return ravel_pytree(jax.grad(policy.log_density)(own, statistics, observation, sample))[0]

        scores = jnp.where(steps.valid[:, None], jax.vmap(score)(steps.observation, steps.sample), 0)
        return total + jnp.matmul(scores.T, scores, precision=jax.lax.Precision.HIGHEST)

    return trajectories.fold(add, jnp.zeros((trajectories.groups, size, size)))


def of_episodes(trajectories: Trajectories, setting: Float[Array, " groups"]) -> Float[Array, " episodes"]:
    """Each episode's, of a setting of its group."""
    return jnp.repeat(setting, trajectories.lengths.size // trajectories.groups)
