"""Asynchronous distributed policy gradient in JAX: Rennala NIGT and Malenia NIGT.

Names are imported on first use: the command line checks a user's input before JAX is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nigt_jax.clocks import malenia_round, rennala_round, synchronous_round
    from nigt_jax.config import load_config
    from nigt_jax.training import check_environment, load_policy, train
    from nigt_jax.transforms import malenia_mean, nigt, nigt_eval_params, rennala_mean

__version__ = "0.1.0"

_HOME = {
    "check_environment": "training",
    "load_config": "config",
    "load_policy": "training",
    "malenia_mean": "transforms",
    "malenia_round": "clocks",
    "nigt": "transforms",
    "nigt_eval_params": "transforms",
    "rennala_mean": "transforms",
    "rennala_round": "clocks",
    "synchronous_round": "clocks",
    "train": "training",
}

__all__ = [
    "check_environment",
    "load_config",
    "load_policy",
    "malenia_mean",
    "malenia_round",
    "nigt",
    "nigt_eval_params",
    "rennala_mean",
    "rennala_round",
    "synchronous_round",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nigt_jax.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
