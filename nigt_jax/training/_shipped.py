"""The trained policy, for use outside of training: always the iterate, with the statistics that belong to it."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.errors import UserError
from nigt_jax.methods import Iterate, iterate
from nigt_jax.records import Checkpoints, open_run
from nigt_jax.rollout import Normalizer, Policy, make_environment
from nigt_jax.training._parts import make_parts
from nigt_jax.training._settings import stacked_settings
from nigt_jax.training._state import initial_state


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

    def act(self, observation: Any, key: PRNGKeyArray) -> Float[Array, "*batch action"]:
        """A draw of the stochastic policy, which is what training evaluates.

        Args:
          observation: of shape [*batch, obs].
          key: of the draw; the draws of a batch are independent of each other.

        Returns:
          Actions in [-1, 1].

        Raises:
          UserError: the observation does not have as many numbers as those of training.
        """
        shown = self._shown(observation)
        return jnp.tanh(self.policy.sample(self.model.params, self.normalizer, shown, key))

    def mode(self, observation: Any) -> Float[Array, "*batch action"]:
        """The action without noise, for an observation of shape [*batch, obs]; in [-1, 1], errors as those of `act`."""
        mean, _ = self.policy.distribution(self.model.params, self.normalizer, self._shown(observation))
        return jnp.tanh(mean)

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


def load_policy(run: str | os.PathLike[str], environment: Any = None) -> TrainedPolicy:
    """Loads the policy of a run's newest checkpoint.

    Args:
      run: folder of the run.
      environment: the Brax environment that it was trained in, where that was not the one that config.yaml names.

    Returns:
      The policy.

    Raises:
      UserError: `run` is no run, or has no checkpoint yet.
    """
    folder, config = open_run(Path(run))
    checkpoints = Checkpoints(folder.checkpoints, config.checkpoint.keep) if folder.checkpoints.is_dir() else None
    if checkpoints is None or checkpoints.latest is None:
        raise UserError(f"{run}: has no checkpoint yet")
    named = config.environment
    parts = make_parts(config, environment or make_environment(named.name, named.backend), devices=1)
    settings, seeds = stacked_settings([config], parts.policy), jnp.asarray([config.seed], jnp.uint32)
    state = checkpoints.state(jax.jit(lambda: initial_state(parts, settings, seeds))())
    checkpoints.close()
    state = jax.tree.map(lambda x: x[0], state)  # of the only run
    return TrainedPolicy(parts.policy, iterate(parts.method, state.server), state.normalizer, int(state.iteration))
