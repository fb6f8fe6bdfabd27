"""From parameters to trajectories: the policy, its observation statistics, and the episodes."""

from nigt_jax.rollout._brax import make_environment
from nigt_jax.rollout._policy import GaussianMLP, Normalizer, Policy, observe
from nigt_jax.rollout._rollout import Trajectories, rollout, rollout_each
from nigt_jax.rollout._variation import Variation, Varied, check_variation, of_workers

__all__ = [
    "GaussianMLP",
    "Normalizer",
    "Policy",
    "Trajectories",
    "Variation",
    "Varied",
    "check_variation",
    "make_environment",
    "observe",
    "of_workers",
    "rollout",
    "rollout_each",
]
