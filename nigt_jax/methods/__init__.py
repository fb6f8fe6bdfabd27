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
    ServerPlan,
    ServerSide,
    StepHyperparameters,
    WorkerSide,
    step_hyperparameters,
)
from nigt_jax.methods._registry import METHODS, method_of_many
from nigt_jax.methods._server import Iterate, QueryPoint, ServerState, ask, iterate, start, tell
from nigt_jax.methods._table import JustArrived, MeansOfWorkers

__all__ = [
    "METHODS",
    "Adapted",
    "AdaptiveHyperparameters",
    "Arrivals",
    "Contributions",
    "Iterate",
    "JustArrived",
    "MeansOfWorkers",
    "Method",
    "OneOfRounds",
    "Progress",
    "QueryPoint",
    "Rounds",
    "Seen",
    "ServerPlan",
    "ServerSide",
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
