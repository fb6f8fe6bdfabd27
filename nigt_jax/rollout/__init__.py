"""From an environment and a policy to trajectories."""

from nigt_jax.rollout._queue import Outcomes, Tasks
from nigt_jax.rollout._rollout import Steps, Trajectories, play_only, rollout
from nigt_jax.rollout._side_by_side import environments_traced_once, side_by_side
from nigt_jax.rollout._statistics import MOST_OBSERVED, observation_statistics
from nigt_jax.rollout._steady import advance_steady, begin_steady, steady_trajectories

__all__ = [
    "MOST_OBSERVED",
    "Outcomes",
    "Steps",
    "Tasks",
    "Trajectories",
    "advance_steady",
    "begin_steady",
    "environments_traced_once",
    "observation_statistics",
    "play_only",
    "rollout",
    "side_by_side",
    "steady_trajectories",
]
