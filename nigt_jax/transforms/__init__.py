"""Optax transformations: the NIGT update, its parts, and aggregation over a named axis. Imports jax and optax only."""

from nigt_jax.transforms._aggregate import malenia_mean, rennala_mean
from nigt_jax.transforms._nigt import nigt
from nigt_jax.transforms._numerics import tree_norm
from nigt_jax.transforms._parts import (
    EmaFromFirstState,
    NormalizedMomentumState,
    ema_from_first,
    normalize_by_tree_norm,
    normalized_momentum,
)
from nigt_jax.transforms._transport import (
    ImplicitGradientTransportState,
    implicit_gradient_transport,
    nigt_eval_params,
)

__all__ = [
    "EmaFromFirstState",
    "ImplicitGradientTransportState",
    "NormalizedMomentumState",
    "ema_from_first",
    "implicit_gradient_transport",
    "malenia_mean",
    "nigt",
    "nigt_eval_params",
    "normalize_by_tree_norm",
    "normalized_momentum",
    "rennala_mean",
    "tree_norm",
]
