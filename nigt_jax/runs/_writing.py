"""What a run writes itself: only there an OSError is one of the disk, and not of the user's own code."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from nigt_jax.errors import RunError
from nigt_jax.records import Checkpoints, RunFolder

Writing = Callable[[], contextlib.AbstractContextManager[None]]


class CannotWriteError(RunError):
    """The disk does not take what a run writes."""


@contextlib.contextmanager
def own_writes(
    folder: Path, checkpoints: Checkpoints | None = None, claimed: RunFolder | None = None
) -> Iterator[None]:
    """For what a run itself writes, and nothing else.

    Args:
      folder: the run's folder.
      checkpoints: the run's checkpoints, where there are some already.
      claimed: the folder that this process has claimed for the run, where it has: nothing is written into another one
        that was put in its place.

    Raises:
      CannotWriteError: the operating system refuses; says why, what is kept and how to go on.
    """
    try:
        if claimed is not None:
            claimed.check_claim()
        yield
    except OSError as error:
        said = f"{error.filename or folder}: cannot be written: {error.strerror or error}"
        if checkpoints is not None and checkpoints.latest is None:
            said += "; nothing was computed yet"
        elif checkpoints is not None:
            said += f"; the run is whole up to iteration {checkpoints.latest}; to go on: nigt train {folder} --resume"
        raise CannotWriteError(said) from error
