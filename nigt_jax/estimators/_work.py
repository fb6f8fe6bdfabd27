"""What workers have done in a round: their own episodes at the query point, and what can be computed from them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.estimators._score import fisher_matrix_sum, fisher_vector_sum, policy_gradient_sum
from nigt_jax.rollout import Trajectories


class WorkUnits(NamedTuple):
    """The episodes of some workers, each worker's a group of its own; results have a leading axis of these workers.

    Every quantity is that of a worker's own episodes alone, so that workers on a cluster can compute it, too.

    Attributes:
      policy: the policy that played.
      params: the query point of each worker; leaves have a leading axis of workers.
      normalizer: its observation statistics, likewise.
      trajectories: the episodes, in as many groups as there are workers; as many slots for each.
      coefficients: the estimator's factor of every score.
      episodes: number of episodes that each worker has played; shape [workers].
    """

    policy: Any
    params: Any
    normalizer: Any
    trajectories: Trajectories
    coefficients: Float[Array, "time episodes"]
    episodes: Int[Array, " workers"]

    def gradients(self) -> Any:
        """Each worker's policy gradient, the mean over its episodes: an ascent direction; like `params`."""
        total = policy_gradient_sum(self.policy, self.params, self.normalizer, self.trajectories, self.coefficients)
        return jax.tree.map(self._mean, total)

    def variances(self) -> Float[Array, " workers"]:
        """The variance of each worker's gradient, summed over its coordinates: s^2 / N.

        s^2 is the unbiased sample variance among the N gradients of single episodes; 0 for a worker with fewer than 2.
        """
        slots = self.trajectories.lengths.size
        each = slots // self.episodes.size
        params, normalizer = jax.tree.map(lambda x: jnp.repeat(x, each, axis=0), (self.params, self.normalizer))
        alone = dataclasses.replace(self.trajectories, groups=slots, charge=jnp.repeat(self.trajectories.charge, each))
        single = policy_gradient_sum(self.policy, params, normalizer, alone, self.coefficients)
        there = (jnp.arange(each)[None, :] < self.episodes[:, None]).astype(jnp.float32)
        number = self.episodes.astype(jnp.float32)

        def squares(gradient: Array) -> Array:
            own = gradient.reshape(self.episodes.size, each, -1)
            mean = jnp.sum(own * there[:, :, None], axis=1) / jnp.maximum(number, 1)[:, None]
            return jnp.sum(jnp.square(own - mean[:, None, :]) * there[:, :, None], axis=(1, 2))

        total = sum(map(squares, jax.tree.leaves(single)), start=jnp.zeros(self.episodes.size))
        return total / (jnp.maximum(number - 1, 1) * jnp.maximum(number, 1))

    def fisher_vector_products(self, vectors: Any) -> Any:
        """Each worker's empirical Fisher matrix times its vector: the mean over steps of score score^T v.

        Args:
          vectors: one for each worker, like `params`.
        """
        total = fisher_vector_sum(self.policy, self.params, self.normalizer, self.trajectories, vectors)
        return jax.tree.map(self._mean_over_steps, total)

    def fisher_matrices(self) -> Float[Array, "workers parameters parameters"]:
        """Each worker's empirical Fisher matrix, whose products with vectors are those above.

        A parameter's place in it is that of ``ravel_pytree``.
        """
        return self._mean_over_steps(fisher_matrix_sum(self.policy, self.params, self.normalizer, self.trajectories))

    def _mean_over_steps(self, total: Array) -> Array:
        steps = self.trajectories.lengths.reshape(self.episodes.size, -1).sum(1).astype(jnp.float32)
        return total / _column(jnp.maximum(steps, 1), total)

    def _mean(self, total: Array) -> Array:
        return total / _column(jnp.maximum(self.episodes, 1).astype(jnp.float32), total)


def _column(numbers: Float[Array, " workers"], like: Array) -> Array:
    """The numbers with as many axes as an array that has one of workers in front."""
    return numbers.reshape(-1, *[1] * (like.ndim - 1))
