"""Methods: when gradients are absorbed, what workers send, and the update, behind one ask/tell interface."""

from nigt_jax.methods._adaptive import (
    AdaptiveHyperparameters,
    Seen,
    after_round,
    chosen_batch_size,
    halves_show,
    noise_scale,
    nothing_seen,
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
    "after_round",
    "ask",
    "chosen_batch_size",
    "halves_show",
    "iterate",
    "method_of_many",
    "noise_scale",
    "nothing_seen",
    "start",
    "step_hyperparameters",
    "tell",
]
