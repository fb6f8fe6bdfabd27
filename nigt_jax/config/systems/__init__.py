"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._dgpg import CloudConfig, DgpgConfig, DgpgEvaluation, DgpgMethod, DgpgTraining

__all__ = [
    "CloudConfig",
    "DgpgConfig",
    "DgpgEvaluation",
    "DgpgMethod",
    "DgpgTraining",
    "SystemCheckpoint",
    "SystemConfig",
    "SystemEvaluation",
    "SystemTraining",
    "agents",
]
