"""The trained policy, for use outside of training: always the iterate, with the statistics that belong to it."""

import contextlib
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS, Iterate, iterate, start
from nigt_jax.policies import Normalizer, Policy
from nigt_jax.records import Checkpoints, naming_the_writer, open_run
from nigt_jax.runtimes import make_policy


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
          observation: an array of shape [*batch, obs].
          key: key of the draw; the draws of a batch are independent of each other.

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


def load_policy(run: str | os.PathLike[str]) -> TrainedPolicy:
    """Loads the policy of a run's newest checkpoint. Neither the environment nor recorded times are needed.

    Args:
      run: folder of the run.

    Returns:
      The policy.

    Raises:
      UserError: `run` is no run, or has no checkpoint yet, or cannot be read.
    """
    folder, config = open_run(Path(run), check_files=False)
    written = folder.provenance()
    shared = None if written is None else written.shared
    path, row = (folder.checkpoints, 0) if shared is None else (folder.path / shared.checkpoints, shared.row)
    checkpoints = Checkpoints(path, config.checkpoint.keep) if path.is_dir() else None
    if checkpoints is None or checkpoints.latest is None:
        raise UserError(f"{run}: has no checkpoint yet")
    method = METHODS[config.method.name]
    with contextlib.closing(checkpoints), naming_the_writer(written), jax.enable_x64(False):  # as training
        policy = make_policy(config, *_sizes(checkpoints))
        runs = 1 if shared is None else len(checkpoints.notes()["runs"])
        state = checkpoints.fields(jax.eval_shape(functools.partial(_fields, config, policy, runs)))
    state = jax.tree.map(lambda x: x[row], state)
    return TrainedPolicy(policy, iterate(method, state["server"]), state["normalizer"], int(state["iteration"]))


def _sizes(checkpoints: Checkpoints) -> tuple[int, int]:
    """Of observations and of actions, as they show in the shapes of what was learnt."""
    state = checkpoints.shapes()
    try:
        heads = state["server"]["sent"]["params"]
        return state["normalizer"]["mean"].shape[-1], heads["mean"]["bias"].shape[-1]
    except (LookupError, TypeError, AttributeError):
        raise checkpoints.unreadable("it holds no policy of this package", whole=True) from None


def _fields(config: Config, policy: Policy, runs: int) -> dict[str, Any]:
    """What a TrainState has of the policy, before the first round."""
    method = METHODS[config.method.name]
    server = start(method, policy.init(jax.random.key(0)), method.hyperparameters(config.method))
    fields = {"server": server, "normalizer": policy.init_normalizer(), "iteration": jnp.zeros([], jnp.int32)}
    return jax.tree.map(lambda x: jnp.stack([x] * runs), fields)
