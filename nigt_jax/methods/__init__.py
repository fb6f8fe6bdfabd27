"""Methods: an aggregation rule and an update each, behind one ask/tell interface."""

from nigt_jax.methods._registry import METHODS
from nigt_jax.methods._server import (
    ArrivalMethod,
    Iterate,
    Method,
    QueryPoint,
    RoundMethod,
    ServerState,
    StepSettings,
    ask,
    iterate,
    start,
    tell,
)

__all__ = [
    "METHODS",
    "ArrivalMethod",
    "Iterate",
    "Method",
    "QueryPoint",
    "RoundMethod",
    "ServerState",
    "StepSettings",
    "ask",
    "iterate",
    "start",
    "tell",
]
