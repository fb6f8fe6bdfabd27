"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._svrpg_tracking import (
    BraxTask,
    NetworkConfig,
    ReductionConfig,
    SvrpgTrackingConfig,
    TabularTask,
)

__all__ = [
    "BraxTask",
    "NetworkConfig",
    "ReductionConfig",
    "SvrpgTrackingConfig",
    "SystemCheckpoint",
    "SystemConfig",
    "SystemEvaluation",
    "SystemTraining",
    "TabularTask",
    "agents",
]
