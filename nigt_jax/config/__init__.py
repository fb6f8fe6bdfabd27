"""Typed configuration, checked before JAX is imported."""

from nigt_jax.config._describe import Setting, describe, sections
from nigt_jax.config._load import check_config, dump_config, load_config, nearest_key
from nigt_jax.config._schema import (
    COUNTABLE,
    Checkpoint,
    Config,
    Environment,
    EnvironmentChange,
    Estimator,
    Evaluation,
    Method,
    Noise,
    Policy,
    PowerLaw,
    SpeedChange,
    SpeedChanges,
    Training,
    Workers,
    dotted,
    to_dict,
)
from nigt_jax.config._trace import read_trace

__all__ = [
    "COUNTABLE",
    "Checkpoint",
    "Config",
    "Environment",
    "EnvironmentChange",
    "Estimator",
    "Evaluation",
    "Method",
    "Noise",
    "Policy",
    "PowerLaw",
    "Setting",
    "SpeedChange",
    "SpeedChanges",
    "Training",
    "Workers",
    "check_config",
    "describe",
    "dotted",
    "dump_config",
    "load_config",
    "nearest_key",
    "read_trace",
    "sections",
    "to_dict",
]
