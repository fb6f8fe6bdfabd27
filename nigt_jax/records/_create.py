"""New folders of runs, and of sweeps: whole or not at all, and never over another one."""

import errno
import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from nigt_jax.config import Config, SystemConfig
from nigt_jax.errors import UserError
from nigt_jax.records._folder import RunFolder


def check_output(output: Path, name: str | None) -> None:
    """Refuses what `create_run` would, as far as can be told without writing anything.

    Raises:
      UserError: the folder of that name exists, or nothing can be written where it should be.
    """
    if name is not None and (name in {"", ".", ".."} or "/" in name or "\0" in name):
        raise UserError(f"--name: got {name!r}, allowed: the name of one new folder inside --output")
    try:
        if name is not None and (output / name).exists():
            raise _taken(output / name)
        nearest = output
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise UserError(f"--output: {nearest} is no folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise UserError(f"--output: {nearest} cannot be written to")
    except OSError as error:
        raise UserError(f"--output: {output}: {error.strerror}") from None


def create_run(output: Path, name: str | None, stem: str, config: Config | SystemConfig) -> RunFolder:
    """Makes the folder of a new run and writes its configuration.

    Args:
      output: folder of runs.
      name: the run's name; None for `stem` with the first free number.
      stem: what to name it after.
      config: complete.

    Returns:
      The folder, which did not exist before: two runs started at once get two.

    Raises:
      UserError: it exists, or cannot be written.
    """
    check_output(output, name)
    try:
        path = make_whole(output, name, stem, lambda path: RunFolder(path).write_config(config))
    except FileExistsError as error:
        raise _taken(Path(error.filename)) from None
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None
    return RunFolder(path)


def make_whole(output: Path, name: str | None, stem: str, fill: Callable[[Path], None]) -> Path:
    """Makes a folder with something in it, whole or not at all: another process never finds it empty.

    Args:
      output: folder that it is to be in; made where it is not there.
      name: its name; None for `stem` with the first free number.
      stem: what to name it after.
      fill: writes into an empty folder what is to be in it, which has to be something.

    Returns:
      The folder, which did not exist before: two processes that start at once make two.

    Raises:
      FileExistsError: it exists.
      OSError: it cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    temporary = output / f".{secrets.token_hex(8)}.new"
    temporary.mkdir()
    try:
        fill(temporary)
        if name is None:
            return _with_free_number(temporary, output, stem)
        if not _renamed(temporary, output / name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(output / name))
        return output / name
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _with_free_number(temporary: Path, output: Path, stem: str) -> Path:
    numbered = (output / f"{stem}-{number:03d}" for number in itertools.count(1))
    return next(path for path in numbered if _renamed(temporary, path))


def _renamed(folder: Path, path: Path) -> bool:
    """Gives a folder its name, unless something has that name already."""
    if os.path.lexists(path):
        return False
    try:
        folder.rename(path)
    except OSError as error:  # another process was quicker
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return False
    return True


def _taken(path: Path) -> UserError:
    return UserError(f"{path}: exists already; choose another --name (nigt train FOLDER --resume continues a run)")
