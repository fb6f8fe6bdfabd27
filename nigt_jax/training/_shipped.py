"""The trained policy, for use outside of training: always the iterate, with the statistics that belong to it."""

from pathlib import Path
from typing import Any, NamedTuple

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


class TrainedPolicy(NamedTuple):
    """What a run has learnt. Its methods are pure; jit and vmap apply.

    Attributes:
      policy: the network and how it is fed.
      model: the iterate.
      normalizer: observation statistics that belong to it.
      iteration: rounds that it has seen.
    """

    policy: Policy
    model: Iterate
    normalizer: Normalizer
    iteration: int

    def act(self, observation: Float[Array, " obs"], key: PRNGKeyArray) -> Float[Array, " action"]:
        """A draw of the stochastic policy, which is what training evaluates; actions are in [-1, 1]."""
        return jnp.tanh(self.policy.sample(self.model.params, self.normalizer, observation, key))

    def mode(self, observation: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
        """The action without noise, in [-1, 1]."""
        mean, _ = self.policy.distribution(self.model.params, self.normalizer, observation)
        return jnp.tanh(mean)


def load_policy(run: str | Path, environment: Any = None) -> TrainedPolicy:
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
