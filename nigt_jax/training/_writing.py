"""What a run writes itself: only there an OSError is one of the disk, and not of the user's own code."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nigt_jax.errors import RunError
from nigt_jax.records import Checkpoints


class CannotWriteError(RunError):
    """The disk does not take what a run writes."""


@contextlib.contextmanager
def own_writes(folder: Path, checkpoints: Checkpoints | None = None) -> Iterator[None]:
    """For what a run itself writes, and nothing else.

    Args:
      folder: of the run.
      checkpoints: of the run, where there are some already.

    Raises:
      CannotWriteError: the operating system refuses; says why, what is kept and how to go on.
    """
    try:
        yield
    except OSError as error:
        safe = checkpoints.latest if checkpoints is not None else None
        kept = "nothing was computed yet" if safe is None else f"the run is whole up to iteration {safe}"
        raise CannotWriteError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}; {kept}; "
            f"to go on: nigt train {folder} --resume"
        ) from error
