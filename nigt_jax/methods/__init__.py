"""Methods: when gradients are absorbed, what workers send, and the update, behind one ask/tell interface."""

from nigt_jax.methods._adaptive import (
    Adapted,
    AdaptiveHyperparameters,
    Seen,
    adapt,
    halves_show,
    noise_scale,
    nothing_adapted,
)
from nigt_jax.methods._method import (
    Arrivals,
    Contributions,
    Method,
    OneOfRounds,
    Progress,
    Rounds,
    StepHyperparameters,
    WorkerSide,
    step_hyperparameters,
)
from nigt_jax.methods._registry import METHODS, method_of_many
from nigt_jax.methods._server import Iterate, QueryPoint, ServerState, ask, iterate, start, tell

__all__ = [
    "METHODS",
    "Adapted",
    "AdaptiveHyperparameters",
    "Arrivals",
    "Contributions",
    "Iterate",
    "Method",
    "OneOfRounds",
    "Progress",
    "QueryPoint",
    "Rounds",
    "Seen",
    "ServerState",
    "StepHyperparameters",
    "WorkerSide",
    "adapt",
    "ask",
    "halves_show",
    "iterate",
    "method_of_many",
    "noise_scale",
    "nothing_adapted",
    "start",
    "step_hyperparameters",
    "tell",
]
