"""Typed configuration, checked before JAX is imported."""

from nigt_jax.config._amounts import UNITS, Amount, amount_of
from nigt_jax.config._config import (
    CheckpointConfig,
    Config,
    EvaluationConfig,
    LoggingConfig,
    PolicyConfig,
    TrainingConfig,
    dotted,
    to_dict,
)
from nigt_jax.config._describe import SettingInfo, describe, sections, traced_settings
from nigt_jax.config._environments import (
    BACKENDS,
    ENVIRONMENTS,
    SUITES,
    BraxEnvironment,
    CustomEnvironment,
    EnvironmentConfig,
)
from nigt_jax.config._estimators import ESTIMATORS, EstimatorConfig, Gae
from nigt_jax.config._fields import COUNTABLE, LARGEST_BATCH, MOST_DEVICES
from nigt_jax.config._load import (
    RUN_FILE,
    check_config,
    dump_config,
    load_config,
    nearest_key,
    read_settings,
    read_yaml,
)
from nigt_jax.config._methods import METHODS, Lapg, MethodConfig, RennalaNigt, RingmasterNigt, family
from nigt_jax.config._runtimes import (
    RUNTIMES,
    LockstepRuntimeConfig,
    RayRuntimeConfig,
    RuntimeConfig,
    SimulatedRuntimeConfig,
)
from nigt_jax.config._tagged import TAGGED, converted, tags
from nigt_jax.config._trace import LONGEST_TIME, SHORTEST_TIME, read_trace
from nigt_jax.config._worker_files import FILES, settings_from
from nigt_jax.config._workers import (
    NOISES,
    TOPOLOGIES,
    EnvironmentChange,
    Noise,
    PowerLaw,
    SpeedChange,
    SpeedChanges,
    WorkersConfig,
)

__all__ = [
    "BACKENDS",
    "COUNTABLE",
    "ENVIRONMENTS",
    "ESTIMATORS",
    "FILES",
    "LARGEST_BATCH",
    "LONGEST_TIME",
    "METHODS",
    "MOST_DEVICES",
    "NOISES",
    "RUNTIMES",
    "RUN_FILE",
    "SHORTEST_TIME",
    "SUITES",
    "TAGGED",
    "TOPOLOGIES",
    "UNITS",
    "Amount",
    "BraxEnvironment",
    "CheckpointConfig",
    "Config",
    "CustomEnvironment",
    "EnvironmentChange",
    "EnvironmentConfig",
    "EstimatorConfig",
    "EvaluationConfig",
    "Gae",
    "Lapg",
    "LockstepRuntimeConfig",
    "LoggingConfig",
    "MethodConfig",
    "Noise",
    "PolicyConfig",
    "PowerLaw",
    "RayRuntimeConfig",
    "RennalaNigt",
    "RingmasterNigt",
    "RuntimeConfig",
    "SettingInfo",
    "SimulatedRuntimeConfig",
    "SpeedChange",
    "SpeedChanges",
    "TrainingConfig",
    "WorkersConfig",
    "amount_of",
    "check_config",
    "converted",
    "describe",
    "dotted",
    "dump_config",
    "family",
    "load_config",
    "nearest_key",
    "read_settings",
    "read_trace",
    "read_yaml",
    "sections",
    "settings_from",
    "tags",
    "to_dict",
    "traced_settings",
]
