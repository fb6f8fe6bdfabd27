"""Methods: an aggregation rule and an update each, behind one ask/tell interface."""

from nigt_jax.methods._registry import METHODS
from nigt_jax.methods._server import (
    Iterate,
    Method,
    QueryPoint,
    ServerState,
    StepSettings,
    ask,
    iterate,
    start,
    tell,
)

__all__ = [
    "METHODS",
    "Iterate",
    "Method",
    "QueryPoint",
    "ServerState",
    "StepSettings",
    "ask",
    "iterate",
    "start",
    "tell",
]
