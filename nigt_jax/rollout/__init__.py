"""From parameters to trajectories: the policy, its observation statistics, and the episodes."""

from nigt_jax.rollout._brax import in_32_bits
from nigt_jax.rollout._check import first_state, permissive
from nigt_jax.rollout._differ import check_variation
from nigt_jax.rollout._named import class_name, make_environment
from nigt_jax.rollout._policy import GaussianMLP, Normalizer, Policy
from nigt_jax.rollout._queue import Outcomes, Tasks
from nigt_jax.rollout._rollout import Steps, Trajectories, one_policy, play_only, rollout
from nigt_jax.rollout._statistics import Seen, observe, see
from nigt_jax.rollout._variation import Variation, Varied, of_workers, side_by_side

__all__ = [
    "GaussianMLP",
    "Normalizer",
    "Outcomes",
    "Policy",
    "Seen",
    "Steps",
    "Tasks",
    "Trajectories",
    "Variation",
    "Varied",
    "check_variation",
    "class_name",
    "first_state",
    "in_32_bits",
    "make_environment",
    "observe",
    "of_workers",
    "one_policy",
    "permissive",
    "play_only",
    "rollout",
    "see",
    "side_by_side",
]
