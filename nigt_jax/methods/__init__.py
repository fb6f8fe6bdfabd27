"""Methods: when gradients are absorbed, what workers send, and the update, behind one ask/tell interface."""

from nigt_jax.methods._method import (
    Arrivals,
    Contributions,
    Method,
    Progress,
    Rounds,
    StepHyperparameters,
    WorkerSide,
    step_hyperparameters,
)
from nigt_jax.methods._registry import METHODS
from nigt_jax.methods._server import Iterate, QueryPoint, ServerState, ask, iterate, start, tell

__all__ = [
    "METHODS",
    "Arrivals",
    "Contributions",
    "Iterate",
    "Method",
    "Progress",
    "QueryPoint",
    "Rounds",
    "ServerState",
    "StepHyperparameters",
    "WorkerSide",
    "ask",
    "iterate",
    "start",
    "step_hyperparameters",
    "tell",
]
