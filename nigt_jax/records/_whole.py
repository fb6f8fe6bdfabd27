"""Files that are written whole or not at all."""

import shutil
from pathlib import Path

from nigt_jax.files import fsync, new_file


def write_whole(path: Path, text: str) -> None:
    """Writes a file by way of a temporary one, so that a reader finds the old text or the new, and never a part."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        with new_file(temporary) as file:
            file.write(text)
            file.flush()
            fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file by way of a temporary one."""
    temporary = target.with_name(f"{target.name}.new")
    try:
        with source.open("rb") as read, new_file(temporary, "wb") as written:
            shutil.copyfileobj(read, written)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
