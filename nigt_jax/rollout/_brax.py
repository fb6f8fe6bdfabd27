"""The one place that imports Brax, quietly.

At import Brax's physics advertises packages that are not installed, and every load warns of what a user of this package
can do nothing about.
"""

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

_NARROW = {np.dtype(f"{kind}64"): np.dtype(f"{kind}32") for kind in ("float", "int", "uint")}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with _quiet():
    import mujoco
    from brax import envs
    from brax.base import System
    from brax.training.acme import running_statistics


def make_brax_environment(name: str, backend: str) -> Any:
    """The Brax environment `name` on physics pipeline `backend`, without wrappers."""
    # Left to itself MuJoCo also writes what it dislikes about Brax's models to a file in the current folder.
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with _quiet():
            return envs.get_environment(name, backend=backend)
    finally:
        mujoco.set_mju_user_warning(before)


def in_32_bits(environment: Any) -> Any:
    """The environment, or one like it without arrays of 64 bits: it may have been made under ``jax_enable_x64``."""
    narrow = {name: _narrow(value) for name, value in vars(environment).items()}
    changed = {name: value for name, value in narrow.items() if value is not vars(environment)[name]}
    if not changed:
        return environment
    environment = copy.copy(environment)
    vars(environment).update(changed)
    return environment


def _narrow(value: Any) -> Any:
    if hasattr(value, "reset") and hasattr(value, "step"):
        return in_32_bits(value)  # inside a wrapper
    if not any(isinstance(x, jax.Array) and x.dtype in _NARROW for x in jax.tree.leaves(value)):
        return value
    narrow = lambda x: x.astype(_NARROW.get(x.dtype, x.dtype)) if isinstance(x, jax.Array) else x
    return jax.tree.map(narrow, value)


__all__ = ["System", "in_32_bits", "make_brax_environment", "running_statistics"]
