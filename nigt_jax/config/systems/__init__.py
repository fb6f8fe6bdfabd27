"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._async_evaluation import (
    AsyncEvaluationConfig,
    DirectedGraph,
    MarkovRewardProcess,
    PushPull,
)
from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._fednpg import FednpgConfig
from nigt_jax.config.systems._graph import GRAPHS, WEIGHTS, GraphConfig

SYSTEMS: dict[str, type[SystemConfig]] = {"fednpg": FednpgConfig}

__all__ = [
    "GRAPHS",
    "SYSTEMS",
    "WEIGHTS",
    "FednpgConfig",
    "GraphConfig",
__all__ = [
    "AsyncEvaluationConfig",
    "DirectedGraph",
    "MarkovRewardProcess",
    "PushPull",
from nigt_jax.config.systems._dgpg import CloudConfig, DgpgConfig, DgpgEvaluation, DgpgMethod, DgpgTraining

__all__ = [
    "CloudConfig",
    "DgpgConfig",
    "DgpgEvaluation",
    "DgpgMethod",
    "DgpgTraining",
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
