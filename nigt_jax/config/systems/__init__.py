"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._rec_marl import (
    AccessMethod,
    AccessNetwork,
    PowerLinks,
    PowerMethod,
    RecMarlAccessConfig,
    RecMarlPowerConfig,
)

__all__ = [
    "AccessMethod",
    "AccessNetwork",
    "PowerLinks",
    "PowerMethod",
    "RecMarlAccessConfig",
    "RecMarlPowerConfig",
    "SystemCheckpoint",
    "SystemConfig",
    "SystemEvaluation",
    "SystemTraining",
    "agents",
]
