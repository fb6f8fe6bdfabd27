"""The one place that imports Brax, quietly.

At import Brax's physics advertises packages that are not installed, and every load warns of what a user of this package
can do nothing about.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any


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


__all__ = ["System", "make_brax_environment", "running_statistics"]
