"""Files that somebody else may have written: only regular ones, and only as large as such a file can be.

And files of our own, which are never written through what stands in their place.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_SETTINGS = 2**26
"""Bytes of a file of settings; the times of a million workers are 20 million."""
MOST_NOTES = 2**28
"""Bytes of a file of JSON that a run or a sweep writes beside its records."""
MOST_TABLE = 2**34
"""Bytes of a table of recorded times: a billion rows of CSV."""


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Args:
      path: the file. A pipe or a device, which may never end or never begin, is none.
      most: bytes that it may have.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger.
    """
    check_regular(path, most)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:  # it has grown, or lies about its size as files of /proc do
        raise _too_large(path, len(content), most)
    return content


def read_text(path: Path, most: int = MOST_NOTES) -> str:
    """The same as text; UnicodeDecodeError, which is a ValueError, where it is not UTF-8."""
    return read_bytes(path, most).decode("utf-8")


def read_json(path: Path, most: int = MOST_NOTES) -> Any:
    """The same as JSON; ValueError where it is none, or is nested too deep for anybody to have written it."""
    try:
        return json.loads(read_text(path, most))
    except RecursionError:
        raise ValueError("nested too deep") from None


def check_regular(path: Path, most: int) -> None:
    """OSError unless it is a regular file of no more bytes than that."""
    try:
        status = path.stat()
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    if status.st_size > most:
        raise _too_large(path, status.st_size, most)


def _too_large(path: Path, size: int, most: int) -> OSError:
    return OSError(errno.EFBIG, f"has {size:,} bytes or more, allowed: up to {most:,}", str(path))


def new_file(path: Path, mode: str = "w") -> Any:
    """Opens a file of our own, never through a link or a pipe that somebody has left in its place.

    Args:
      path: the file.
      mode: "w" for text that is written anew, "a" for text that is added, "wb" for bytes that are written anew.

    Raises:
      OSError: it cannot be written; ELOOP where it is a symbolic link.
    """
    how = os.O_APPEND if "a" in mode else os.O_TRUNC
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | how, 0o666)
    return open(descriptor, mode, encoding=None if "b" in mode else "utf-8")


def fsync(descriptor: int) -> None:
    """Has a file be on the disk before this returns, where its file system can do that at all.

    Raises:
      OSError: the disk does not take it.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some of the network and of user space
            raise
