"""What a run writes itself: only there an OSError is one of the disk, and not of the user's own code."""

import contextlib
from collections.abc import Callable, Iterator

from nigt_jax.errors import RunError
from nigt_jax.records import Checkpoints, RunFolder

Writing = Callable[[], contextlib.AbstractContextManager[None]]


class CannotWriteError(RunError):
    """The disk does not take what a run writes."""


@contextlib.contextmanager
def own_writes(folder: RunFolder, checkpoints: Checkpoints | None = None) -> Iterator[None]:
    """For what a run itself writes, and nothing else; into the folder that was claimed, and no other in its place.

    Args:
      folder: the run's folder.
      checkpoints: the run's checkpoints, where there are some already.

    Raises:
      CannotWriteError: the operating system refuses; says why, what is kept and how to go on.
    """
    try:
        folder.check_claim()
        yield
    except OSError as error:
        said = f"{error.filename or folder.path}: cannot be written: {error.strerror or error}"
        if checkpoints is not None and checkpoints.latest is None:
            said += "; nothing was computed yet"
        elif checkpoints is not None:
            said += (
                f"; the run is whole up to iteration {checkpoints.latest}; to go on: nigt train {folder.path} --resume"
            )
        raise CannotWriteError(said) from error
