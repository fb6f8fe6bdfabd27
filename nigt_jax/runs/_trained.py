"""The trained policy, for use outside of training: always the iterate, with the statistics that belong to it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.errors import UserError
from nigt_jax.methods import Iterate
from nigt_jax.policies import Normalizer, Policy


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["model", "normalizer", "iteration"], meta_fields=["policy"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class TrainedPolicy:
    """What a run has learnt. Its methods are pure; jit and vmap apply. It is a pytree, so it can be their argument.

    Observations may be anything that ``jnp.asarray`` takes. Leading axes are a batch.

    Attributes:
      policy: the network and how it is fed.
      model: the iterate.
      normalizer: observation statistics that belong to it.
      iteration: rounds that it has seen; an int, or an array once JAX has made one of it.
    """

    policy: Policy
    model: Iterate
    normalizer: Normalizer
    iteration: Any

    def act(self, observation: Any, key: PRNGKeyArray) -> Array:
        """A draw of the stochastic policy, which is what training evaluates.

        Args:
          observation: an array of shape [*batch, obs].
          key: key of the draw; the draws of a batch are independent of each other.

        Returns:
          Actions: numbers in [-1, 1] of shape [*batch, action], or whole ones of shape [*batch] where an action is one
          of n.

        Raises:
          UserError: the observation does not have as many numbers as those of training.
        """
        shown = self._shown(observation)
        return self.policy.action(self.policy.sample(self.model.params, self.normalizer, shown, key))

    def mode(self, observation: Any) -> Array:
        """The action without noise, for an observation of shape [*batch, obs]; like `act` in all else."""
        shown = self.policy.distribution(self.model.params, self.normalizer, self._shown(observation))
        return self.policy.action(shown.mode())

    def _shown(self, observation: Any) -> Float[Array, "*batch obs"]:
        size = self.policy.observation_size
        try:
            shown = jnp.asarray(observation, jnp.float32)
        except (TypeError, ValueError):  # a mapping, rows of unequal length, text
            raise UserError(
                f"observation: got a {type(observation).__name__} that is no array, wanted shape (..., {size})"
            ) from None
        if shown.shape[-1:] != (size,):
            raise UserError(
                f"observation: got shape {shown.shape}, wanted (..., {size}), the size that the policy was trained with"
            )
        return shown
