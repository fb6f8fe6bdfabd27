"""Environments: one small interface, and suites behind it."""

from nigt_jax.environments._actions import ActionSpace, action_space
from nigt_jax.environments._brax import in_32_bits
from nigt_jax.environments._check import first_state, permissive
from nigt_jax.environments._check_environment import check_environment
from nigt_jax.environments._differ import check_variation
from nigt_jax.environments._interface import Environment
from nigt_jax.environments._named import class_name, make_environment
from nigt_jax.environments._observed import observed
from nigt_jax.environments._probe import Rows, difference, probe
from nigt_jax.environments._variation import Variation, Varied, make_variation, of_workers

__all__ = [
    "ActionSpace",
    "Environment",
    "Rows",
    "Variation",
    "Varied",
    "action_space",
    "check_environment",
    "check_variation",
    "class_name",
    "difference",
    "first_state",
    "in_32_bits",
    "make_environment",
    "make_variation",
    "observed",
    "of_workers",
    "permissive",
    "probe",
]
