"""The loop: compiled rounds on the devices, and the host around them."""

from nigt_jax.training._check import check_environment
from nigt_jax.training._compile import compile_options, known_options
from nigt_jax.training._loop import Summary, Totals, train
from nigt_jax.training._parts import Parts
from nigt_jax.training._round import RoundMetrics, count, run_round, tasks_of_block
from nigt_jax.training._settings import Settings
from nigt_jax.training._shipped import TrainedPolicy, load_policy
from nigt_jax.training._spmd import device_name, sum_over
from nigt_jax.training._state import TrainState
from nigt_jax.training._steps import StepCount, add_steps, count_steps, whole_steps
from nigt_jax.training._trainer import Trainer

__all__ = [
    "Parts",
    "RoundMetrics",
    "Settings",
    "StepCount",
    "Summary",
    "Totals",
    "TrainState",
    "TrainedPolicy",
    "Trainer",
    "add_steps",
    "check_environment",
    "compile_options",
    "count",
    "count_steps",
    "device_name",
    "known_options",
    "load_policy",
    "run_round",
    "sum_over",
    "tasks_of_block",
    "train",
    "whole_steps",
]
