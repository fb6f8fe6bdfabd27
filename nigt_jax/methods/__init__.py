"""Methods: an aggregation rule and an update each, behind one ask/tell interface."""

import jax.numpy as jnp

from nigt_jax.clocks import rennala_round_at
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
from nigt_jax.transforms import nigt, nigt_eval_params

METHODS: dict[str, Method] = {
    "rennala_nigt": Method(
        round=rennala_round_at,
        weigh=lambda counted: jnp.ones(counted.counts.shape),
        update=lambda settings: nigt(settings.learning_rate, settings.momentum),
        model=nigt_eval_params,
    ),
}

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
