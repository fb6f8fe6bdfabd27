"""Methods: when gradients are absorbed, what workers send, and the update, behind one ask/tell interface."""

from nigt_jax.methods._method import (
    Arrivals,
    Contributions,
    Method,
    OneOfRounds,
    Progress,
    Rounds,
    ServerPlan,
    ServerSide,
    StepHyperparameters,
    WorkerSide,
    step_hyperparameters,
)
from nigt_jax.methods._registry import METHODS, method_of_many
from nigt_jax.methods._server import Iterate, QueryPoint, ServerState, ask, iterate, start, tell

__all__ = [
    "METHODS",
    "Arrivals",
    "Contributions",
    "Iterate",
    "Method",
    "OneOfRounds",
    "Progress",
    "QueryPoint",
    "Rounds",
    "ServerPlan",
    "ServerSide",
    "ServerState",
    "StepHyperparameters",
    "WorkerSide",
    "ask",
    "iterate",
    "method_of_many",
    "start",
    "step_hyperparameters",
    "tell",
]
