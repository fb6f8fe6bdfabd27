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
from nigt_jax.transforms._robust import (
    coordinate_median,
    filtered_mean,
    geometric_median,
    mean_around_median,
    multi_krum,
    robust_mean,
    trimmed_mean,
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
    "coordinate_median",
    "ema_from_first",
    "filtered_mean",
    "geometric_median",
    "implicit_gradient_transport",
    "malenia_mean",
    "mean_around_median",
    "multi_krum",
    "n_harpg",
    "n_pg_igt_schedules",
    "nigt",
    "nigt_eval_params",
    "normalize_by_tree_norm",
    "normalized_momentum",
    "rennala_mean",
    "robust_mean",
    "tree_norm",
    "trimmed_mean",
]
