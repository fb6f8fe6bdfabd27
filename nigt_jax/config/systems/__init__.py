"""Configurations of the related systems: a top-level key ``system`` says which."""

from nigt_jax.config.systems._async_evaluation import (
    AsyncEvaluationConfig,
    MarkovRewardProcess,
    PushPull,
)
from nigt_jax.config.systems._base import SystemCheckpoint, SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._dgpg import CloudConfig, DgpgConfig, DgpgEvaluation, DgpgMethod, DgpgTraining
from nigt_jax.config.systems._fednpg import FednpgConfig, FednpgMethod, GridWorldConfig
from nigt_jax.config.systems._graph import GRAPHS, WEIGHTS, GraphConfig, LinksConfig
from nigt_jax.config.systems._rec_marl import (
    AccessMethod,
    AccessNetwork,
    PowerLinks,
    PowerMethod,
    RecMarlAccessConfig,
    RecMarlPowerConfig,
)
from nigt_jax.config.systems._svrpg_tracking import (
    BraxTask,
    NetworkConfig,
    ReductionConfig,
    SvrpgTrackingConfig,
    TabularTask,
)

SYSTEMS: dict[str, type[SystemConfig]] = {
    "async_evaluation": AsyncEvaluationConfig,
    "fednpg": FednpgConfig,
    "svrpg_tracking": SvrpgTrackingConfig,
    "rec_marl_access": RecMarlAccessConfig,
    "rec_marl_power": RecMarlPowerConfig,
    "dgpg": DgpgConfig,
}

__all__ = [
    "GRAPHS",
    "SYSTEMS",
    "WEIGHTS",
    "AccessMethod",
    "AccessNetwork",
    "AsyncEvaluationConfig",
    "BraxTask",
    "CloudConfig",
    "DgpgConfig",
    "DgpgEvaluation",
    "DgpgMethod",
    "DgpgTraining",
    "FednpgConfig",
    "FednpgMethod",
    "GraphConfig",
    "GridWorldConfig",
    "LinksConfig",
    "MarkovRewardProcess",
    "NetworkConfig",
    "PowerLinks",
    "PowerMethod",
    "PushPull",
    "RecMarlAccessConfig",
    "RecMarlPowerConfig",
    "ReductionConfig",
    "SvrpgTrackingConfig",
    "SystemCheckpoint",
    "SystemConfig",
    "SystemEvaluation",
    "SystemTraining",
    "TabularTask",
    "agents",
]
