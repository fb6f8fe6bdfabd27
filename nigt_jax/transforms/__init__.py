"""Optax transformations: the NIGT update, its parts, and aggregation over a named axis. Imports jax and optax only."""

from nigt_jax.transforms._aggregate import malenia_mean, rennala_mean
from nigt_jax.transforms._hessian_aided import n_harpg
from nigt_jax.transforms._nigt import nigt
from nigt_jax.transforms._numerics import OneMinus, tree_norm
from nigt_jax.transforms._parts import (
    EmaFromFirstState,
    NormalizedMomentumState,
    ema_from_first,
    normalize_by_tree_norm,
    normalized_momentum,
)
from nigt_jax.transforms._schedules import n_pg_igt_schedules
from nigt_jax.transforms._transport import (
    ImplicitGradientTransportState,
    implicit_gradient_transport,
    nigt_eval_params,
)

__all__ = [
    "EmaFromFirstState",
    "ImplicitGradientTransportState",
    "NormalizedMomentumState",
    "OneMinus",
    "ema_from_first",
    "implicit_gradient_transport",
    "malenia_mean",
    "n_harpg",
    "n_pg_igt_schedules",
    "nigt",
    "nigt_eval_params",
    "normalize_by_tree_norm",
    "normalized_momentum",
    "rennala_mean",
    "tree_norm",
]
