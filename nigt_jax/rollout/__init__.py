"""From parameters to trajectories: the policy, its observation statistics, and the episodes."""

from nigt_jax.rollout._brax import make_environment
from nigt_jax.rollout._policy import GaussianMLP, Normalizer, Policy, observe
from nigt_jax.rollout._rollout import Trajectories, rollout, rollout_each

__all__ = [
    "GaussianMLP",
    "Normalizer",
    "Policy",
    "Trajectories",
    "make_environment",
    "observe",
    "rollout",
    "rollout_each",
]
