"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents

__all__ = ["SystemCheckpoint", "SystemConfig", "SystemEvaluation", "SystemTraining", "agents"]
