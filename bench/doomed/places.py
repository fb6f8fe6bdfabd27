"""Tells where this process writes: before it changes a folder, and in the middle of what it writes into a file.

Whatever Python itself writes is seen. Libraries in C++ are not, but for the renames that make their files count.
"""

import builtins
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Tell = Callable[["Place"], None]


class Place(NamedTuple):
    """Where a process is.

    Attributes:
      kind: what it is about to do: ``open`` (for writing), ``fsync``, ``rename``, ``remove``, ``rmdir``, ``mkdir``; or
        ``half``: half of the first write into a file is done.
      path: of what.
      source: of a rename, what is renamed; otherwise the same as `path`.
    """

    kind: str
    path: Path
    source: Path


class _Watch(NamedTuple):
    folder: Path
    tell: Tell


_watch: _Watch | None = None
_hooked = False
_here = threading.local()  # whether this thread is being told already


@contextlib.contextmanager
def watched(folder: Path, tell: Tell) -> Iterator[None]:
    """Calls `tell` at every place where this process writes below `folder`, in the thread that does."""
    global _watch
    before, _watch = _watch, _Watch(Path(os.path.realpath(folder)), tell)
    _hook_in()
    opened, sync = io.open, os.fsync
    io.open = builtins.open = _opening(opened)
    os.fsync = _syncing(sync)  # type: ignore[assignment]
    try:
        yield
    finally:
        io.open = builtins.open = opened
        os.fsync = sync
        _watch = before


def halve(path: Path) -> None:
    """Takes away the second half of a file, or of the largest file of a folder, as where a write is broken off."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    if files:
        largest = max(files, key=lambda file: file.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)


def _hook_in() -> None:
    """Once: what is hooked into Python stays there."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked = True


def _hear(event: str, arguments: Any) -> None:
    if _watch is None:
        return
    if event == "open":
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR):
            _tell("open", _path(path))
    elif event in ("os.remove", "os.rmdir"):
        _tell(event[3:], _path(*arguments))
    elif event == "os.mkdir":
        path, _, folder = arguments
        _tell("mkdir", _path(path, folder))
    elif event == "os.rename":
        source, path, source_folder, folder = arguments
        _tell("rename", _path(path, folder), _path(source, source_folder))


def _path(given: Any, folder: int = -1) -> Path | None:
    """The whole path of what is given to a function of `os`; None of a descriptor."""
    if isinstance(given, int):
        return None
    where = Path(os.readlink(f"/proc/self/fd/{folder}")) if folder >= 0 else Path.cwd()
    return where / os.fsdecode(given)


def _tell(kind: str, path: Path | None, source: Path | None = None) -> None:
    if _watch is None or path is None or getattr(_here, "told", False):
        return
    _here.told = True  # whoever is told may write, too
    try:
        if _is_watched(path):
            _watch.tell(Place(kind, path, source or path))
    finally:
        _here.told = False


def _is_watched(path: Path | None) -> bool:
    if _watch is None or path is None:
        return False
    return Path(os.path.realpath(path)).is_relative_to(_watch.folder)


def _opening(opened: Callable[..., Any]) -> Callable[..., Any]:
    def open_(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        made = opened(file, mode, *arguments, **options)
        path = Path(os.readlink(f"/proc/self/fd/{file}")) if isinstance(file, int) else _path(file)
        return _Halved(made, path) if set(mode) & set("wxa+") and _is_watched(path) else made

    return open_


def _syncing(sync: Callable[[Any], None]) -> Callable[[Any], None]:
    def fsync(fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        _tell("fsync", Path(os.readlink(f"/proc/self/fd/{number}")))
        sync(fd)

    return fsync


class _Halved:
    """A file that is open for writing: its first write is done in two halves."""

    def __init__(self, file: Any, path: Path | None):
        self._file, self._path, self._first = file, path, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Halved":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def write(self, data: Any) -> int:
        """As the file itself has it."""
        if not self._first:
            return self._file.write(data)
        self._first, half = False, len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        _tell("half", self._path)
        self._file.write(data[half:])
        return len(data)
