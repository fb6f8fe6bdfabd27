"""From trajectories to policy gradients."""

from typing import cast

from nigt_jax.config import EstimatorConfig, Gae
from nigt_jax.estimators._gae import GaeHyperparameters, gae
from nigt_jax.estimators._hessian import hessian_vector_sum
from nigt_jax.estimators._importance import importance_weights
from nigt_jax.estimators._returns import leave_one_out, policy_gradient, return_to_go_gradient
from nigt_jax.estimators._score import (
    Estimator,
    EstimatorHyperparameters,
    fisher_matrix_sum,
    fisher_vector_sum,
    policy_gradient_sum,
)
from nigt_jax.estimators._work import WorkUnits
from nigt_jax.policies import Policy


def make_estimator(config: EstimatorConfig, policy: Policy) -> Estimator:
    """The estimator that a section of the configuration names.

    Args:
      config: the section.
      policy: the policy whose scores it weighs.
    """
    table = {
        "policy_gradient": lambda: policy_gradient,
        "return_to_go": lambda: return_to_go_gradient,
        "leave_one_out": lambda: leave_one_out,
        "gae": lambda: gae(policy, cast(Gae, config).critic_steps),
    }
    return table[config.name]()


__all__ = [
    "Estimator",
    "EstimatorHyperparameters",
    "GaeHyperparameters",
    "WorkUnits",
    "fisher_matrix_sum",
    "fisher_vector_sum",
    "gae",
    "hessian_vector_sum",
    "importance_weights",
    "leave_one_out",
    "make_estimator",
    "policy_gradient",
    "policy_gradient_sum",
    "return_to_go_gradient",
]
