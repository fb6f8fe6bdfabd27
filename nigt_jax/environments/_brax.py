"""The one place that imports Brax, quietly.

At import Brax's physics advertises packages that are not installed, and every load warns of what a user of this package
can do nothing about.
"""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.environments._attributes import attributes, set_attributes
from nigt_jax.environments._check import check_kind
from nigt_jax.imports import quiet

_NARROW = {np.dtype(f"{kind}64"): np.dtype(f"{kind}32") for kind in ("float", "int", "uint")}


with quiet():
    import mujoco
    from brax import envs, fluid
    from brax.base import System
    from mujoco.mjx import Model


class _ClipAsBefore:
    """jax.numpy for ``brax.fluid``, which calls `clip` by names that JAX no longer knows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    @staticmethod
    def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
        return jnp.clip(x, a_min, a_max)


fluid.jp = _ClipAsBefore()


def make_brax_environment(name: str, backend: str) -> Any:
    """The Brax environment `name` on physics pipeline `backend`, without wrappers."""
    with quiet_models():
        return envs.get_environment(name, backend=backend)


@contextlib.contextmanager
def quiet_models() -> Iterator[None]:
    """Models of MuJoCo are loaded in silence, and put on a device of this process."""
    # Left to itself MuJoCo also writes what it dislikes about Brax's models to a file in the current folder.
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with quiet(), _on_this_process():
            yield
    finally:
        mujoco.set_mju_user_warning(before)


@contextlib.contextmanager
def _on_this_process() -> Iterator[None]:
    """MJX puts models on JAX's first device, which in a job of several processes is another process's."""
    if not jax.distributed.is_initialized():
        yield
        return
    before = jax.devices
    jax.devices = lambda backend=None: jax.local_devices(backend=backend)
    try:
        yield
    finally:
        jax.devices = before


def in_32_bits(environment: Any) -> Any:
    """The environment, or one like it without arrays of 64 bits: it may have been made under ``jax_enable_x64``.

    Raises:
      UserError: it is none, as far as that can be told before anything is called.
    """
    check_kind(environment)
    return _narrow(environment, {}) if _is_wide(environment, set()) else environment


def _is_wide(value: Any, seen: set[int]) -> bool:
    """Whether there is an array of 64 bits in it, or in environments inside it; one may hold itself."""
    if not _is_environment(value):
        return isinstance(value, jax.Array) and value.dtype in _NARROW
    if id(value) in seen:
        return False
    seen.add(id(value))
    leaves = jax.tree.leaves(attributes(value), is_leaf=_is_environment)
    return any(_is_wide(leaf, seen) for leaf in leaves)


def _narrow(value: Any, copies: dict[int, Any]) -> Any:
    """A copy in 32 bits. Environments that hold each other, or themselves, do so afterwards."""
    if not _is_environment(value):
        return value.astype(_NARROW.get(value.dtype, value.dtype)) if isinstance(value, jax.Array) else value
    if id(value) not in copies:
        made = copies[id(value)] = copy.copy(value)
        changes = jax.tree.map(lambda leaf: _narrow(leaf, copies), attributes(value), is_leaf=_is_environment)
        copies[id(value)] = set_attributes(made, changes)
    return copies[id(value)]


def _is_environment(value: Any) -> bool:
    return hasattr(value, "reset") and hasattr(value, "step") and not isinstance(value, type)


__all__ = ["Model", "System", "in_32_bits", "make_brax_environment", "quiet_models"]
