"""What a run is made of and never changes: environment, policy, estimator, method, and how many episodes at once."""

from typing import Any, NamedTuple

from nigt_jax.estimators import Estimator
from nigt_jax.methods import Method
from nigt_jax.policies import Policy


class Parts(NamedTuple):
    """What the rounds are made of: fixed for a program.

    Attributes:
      environment: an environment without wrappers; see :class:`nigt_jax.environments.Environment`.
      policy: the policy that acts in it.
      estimator: the estimator, from episodes to a gradient.
      method: the method: whose gradients are absorbed when, and the update.
      horizon: length at which an episode is cut, in steps.
      layout: a key of LAYOUTS, which episodes are played where.
      axis: name of the axis of the devices that share a round's episodes; None where every device has runs of its own.
      episodes: number that one device plays in a block, of each run; the steps of so many are in memory at once.
      server_episodes: number that one device plays at once of those that the server plays for itself, of each run.
      num_lanes: numbers of lanes that one device runs side by side, see :func:`nigt_jax.rollout.rollout`.
      chunk_size: steps that are looked at at once when something is computed of all of them.
      trajectories_per_gradient: episodes averaged into one gradient.
      counts_steps: whether runs stop, or schedules proceed, by steps of the environment; devices then tell each other
        in every round how many theirs had.
      lanes_last: whether lanes are the last axis of the environment's arrays; faster on a CPU.
      first_bytes: bytes of the state in which an episode begins.
    """

    environment: Any
    policy: Policy
    estimator: Estimator
    method: Method
    horizon: int
    layout: str
    axis: str | None
    episodes: int
    server_episodes: int
    num_lanes: tuple[int, ...]
    chunk_size: int
    trajectories_per_gradient: int
    counts_steps: bool
    lanes_last: bool
    first_bytes: int
