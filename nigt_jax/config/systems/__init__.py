"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._async_evaluation import (
    AsyncEvaluationConfig,
    DirectedGraph,
    MarkovRewardProcess,
    PushPull,
)
from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents

__all__ = [
    "AsyncEvaluationConfig",
    "DirectedGraph",
    "MarkovRewardProcess",
    "PushPull",
    "SystemCheckpoint",
    "SystemConfig",
    "SystemEvaluation",
    "SystemTraining",
    "agents",
]
