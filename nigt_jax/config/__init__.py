"""Typed configuration, checked before JAX is imported."""

from nigt_jax.config._describe import Setting, describe, sections
from nigt_jax.config._load import check_config, dump_config, load_config, nearest_key
from nigt_jax.config._schema import (
    Checkpoint,
    Config,
    Environment,
    Estimator,
    Evaluation,
    Method,
    Policy,
    PowerLaw,
    Training,
    Workers,
    to_dict,
)

__all__ = [
    "Checkpoint",
    "Config",
    "Environment",
    "Estimator",
    "Evaluation",
    "Method",
    "Policy",
    "PowerLaw",
    "Setting",
    "Training",
    "Workers",
    "check_config",
    "describe",
    "dump_config",
    "load_config",
    "nearest_key",
    "sections",
    "to_dict",
]
