"""From trajectories to policy gradients."""

from nigt_jax.config import Estimator as EstimatorConfig
from nigt_jax.estimators._gae import gae
from nigt_jax.estimators._returns import leave_one_out, policy_gradient, return_to_go_gradient
from nigt_jax.estimators._score import Estimator, EstimatorSettings, policy_gradient_sum
from nigt_jax.rollout import Policy


def make_estimator(config: EstimatorConfig, policy: Policy) -> Estimator:
    """The estimator that the configuration names."""
    table = {
        "policy_gradient": lambda: policy_gradient,
        "return_to_go": lambda: return_to_go_gradient,
        "leave_one_out": lambda: leave_one_out,
        "gae": lambda: gae(policy, config.critic_steps),
    }
    return table[config.name]()


__all__ = [
    "Estimator",
    "EstimatorSettings",
    "gae",
    "leave_one_out",
    "make_estimator",
    "policy_gradient",
    "policy_gradient_sum",
    "return_to_go_gradient",
]
