"""The folder of a run, for as long as somebody works on the run."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from nigt_jax.errors import UserError, enough_memory
from nigt_jax.interrupts import interruptions
from nigt_jax.records import RunFolder
from nigt_jax.runs._writing import own_writes


class Opened(NamedTuple):
    """A run that is worked on.

    Attributes:
      folder: its folder, which is there, and which nobody else works in.
      interrupted: set when the run is to stop.
      outside: makes a function of the user's own compute in the precision that the user has asked for.
    """

    folder: RunFolder
    interrupted: threading.Event
    outside: Callable[[Callable[..., None]], Callable[..., None]]


@contextlib.contextmanager
def opened(folder: str | os.PathLike[str], resume: bool, interrupted: threading.Event | None) -> Iterator[Opened]:
    """Claims a run's folder, and makes it where it is not there yet.

    Args:
      folder: the folder.
      resume: whether the run goes on; otherwise there must be none yet.
      interrupted: what is looked at between chunks; None for an event that SIGINT, SIGTERM and SIGHUP set.

    Raises:
      UserError: it is a file, or not there, or that of a run which has begun; or another process works on it.
      RunError: it cannot be made.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file, allowed: the folder of a run, or one that is not there yet")
    if resume and not path.exists():
        raise UserError(f"{path}: no such run folder, so there is nothing to resume")
    where, users = RunFolder(path), jax.config.jax_enable_x64  # type: ignore[attr-defined]

    def outside(call: Callable[..., None]) -> Callable[..., None]:
        def told(*arguments: Any) -> None:
            with jax.enable_x64(users):
                call(*arguments)

        return told

    with contextlib.ExitStack() as stack:
        if interrupted is None:
            interrupted = stack.enter_context(interruptions())
        stack.enter_context(enough_memory())
        with own_writes(where):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(where.claimed())
        where.refuse_links()
        if not resume and where.begun:
            raise UserError(f"{path}: holds a run already; resume=True continues it; or take another folder")
        yield Opened(where, interrupted, outside)
