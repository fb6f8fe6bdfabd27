"""Policies, and the statistics of observations that belong to them. Nothing here knows of environments."""

from nigt_jax.policies._normalizer import (
    MOST_DEVIATIONS,
    Normalizer,
    ObservationStatistics,
    init_normalizer,
    standardise,
    update_statistics,
)
from nigt_jax.policies._policy import GaussianMLP, Policy

__all__ = [
    "MOST_DEVIATIONS",
    "GaussianMLP",
    "Normalizer",
    "ObservationStatistics",
    "Policy",
    "init_normalizer",
    "standardise",
    "update_statistics",
]
