"""Policies, and the statistics of observations that belong to them. Nothing here knows of environments."""

from nigt_jax.policies._families import Categorical, TanhGaussian
from nigt_jax.policies._files import ABOUT, ARRAYS, describe_policy, policy_arrays, read_policy_files
from nigt_jax.policies._networks import CategoricalMLP, GaussianMLP
from nigt_jax.policies._normalizer import (
    MOST_DEVIATIONS,
    Normalizer,
    ObservationStatistics,
    init_normalizer,
    standardise,
    update_statistics,
)
from nigt_jax.policies._policy import Policy, Start

__all__ = [
    "ABOUT",
    "ARRAYS",
    "MOST_DEVIATIONS",
    "Categorical",
    "CategoricalMLP",
    "GaussianMLP",
    "Normalizer",
    "ObservationStatistics",
    "Policy",
    "Start",
    "TanhGaussian",
    "describe_policy",
    "init_normalizer",
    "policy_arrays",
    "read_policy_files",
    "standardise",
    "update_statistics",
]
