"""Rounds as pure functions of one device: state and hyperparameters in, state and metrics out."""

from nigt_jax.training._attacks import make_attacks
from nigt_jax.training._block import gradient_of_block, next_round, play_block, tasks_of_block
from nigt_jax.training._engines import Engine, engine_of
from nigt_jax.training._evaluate import Episodes, evaluate, summarise
from nigt_jax.training._hyperparameters import (
    Hyperparameters,
    check_runs,
    make_hyperparameters,
    number_of_parameters,
    stacked_hyperparameters,
)
from nigt_jax.training._initial import initial_state
from nigt_jax.training._limits import Limits, Spent, limits_of, spent_of
from nigt_jax.training._metrics import RoundMetrics, messages
from nigt_jax.training._parts import Parts
from nigt_jax.training._round import run_round
from nigt_jax.training._state import Sent, TrainState, all_finite, stream
from nigt_jax.training._steps import StepCount, add_steps, count_steps, whole_steps
from nigt_jax.training._unit import (
    Assignment,
    Unit,
    add_units,
    advance_unit,
    begin_unit,
    finish_contribution,
    finish_unit,
)

__all__ = [
    "Assignment",
    "Engine",
    "Episodes",
    "Hyperparameters",
    "Limits",
    "Parts",
    "RoundMetrics",
    "Sent",
    "Spent",
    "StepCount",
    "TrainState",
    "Unit",
    "add_steps",
    "add_units",
    "advance_unit",
    "all_finite",
    "begin_unit",
    "check_runs",
    "count_steps",
    "engine_of",
    "evaluate",
    "finish_contribution",
    "finish_unit",
    "gradient_of_block",
    "initial_state",
    "limits_of",
    "make_attacks",
    "make_hyperparameters",
    "messages",
    "next_round",
    "number_of_parameters",
    "play_block",
    "run_round",
    "spent_of",
    "stacked_hyperparameters",
    "stream",
    "summarise",
    "tasks_of_block",
    "whole_steps",
]
