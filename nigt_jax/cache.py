"""What can be had again at any time, kept from one start to the next. A process without such a folder goes without."""

import os
import re
import zlib
from pathlib import Path

import platformdirs

_CANNOT_READ = re.compile(r"Error reading persistent compilation cache entry for '([^'/]+)'")


def cache_folder() -> Path | None:
    """The user's cache folder for this package, made if absent; None where there is no home or it cannot be written."""
    try:
        folder = Path(platformdirs.user_cache_dir("nigt_jax", appauthor=False))
        if not folder.is_absolute():  # "~" is left where there is no home
            return None
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no HOME, and a user that the system does not know
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def keep_compiled_programs() -> None:
    """Has JAX keep what it compiles in the user's cache folder, unless JAX was already told of another.

    Programs are found again by their content, JAX's version and the device, so the folder can be deleted at any time.
    """
    import jax

    folder = cache_folder()
    if folder is not None and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))


def forget_damaged(warning: str) -> bool:
    """Removes the compiled program that JAX warns it cannot read, so that it is kept anew once it is compiled.

    A process that was killed while it wrote one leaves a part of it, and so does a full disk. JAX writes over nothing:
    it would warn, and compile anew, at every start.

    Args:
      warning: the text of any warning.

    Returns:
      Whether it is this one.
    """
    import jax

    found = _CANNOT_READ.match(warning)
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if found is None or folder is None:
        return False
    for path in Path(folder).glob(f"{found[1]}-*-cache"):  # of that name there may be many
        try:
            zlib.decompress(path.read_bytes())
        except (OSError, zlib.error):  # with zstandard installed JAX uses that; then all of that name go
            path.unlink(missing_ok=True)
    return True
