"""metrics.jsonl: one record a line, only ever appended to, and cut back to a checkpoint when a run is resumed."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nigt_jax.errors import UserError
from nigt_jax.files import check_regular, fsync, new_file, read_bytes
from nigt_jax.records._whole import write_whole

Record = dict[str, Any]
_TAIL = 2**20  # bytes; a record of a thousand workers' returns is some twenty thousand
_LARGEST = 2**34  # bytes
_COUNTED = ("iteration", "gradients", "env_steps", "simulated_time", "wall_time")  # in every record


class MetricsLog:
    """Appends records to ``metrics.jsonl``. A record that was appended survives a crash of the process.

    Args:
      path: the file.
      until: the last iteration to keep of what is there, which has to be there without gaps; what comes later is
        computed again. -1 keeps nothing.

    Raises:
      OSError: it cannot be written.
      UserError: it is damaged, or a record up to `until` is missing.
    """

    def __init__(self, path: Path, until: int):
        self._path = path
        kept = [] if until < 0 else _records(path, until + 1)
        if [record["iteration"] for record in kept] != list(range(until + 1)):
            raise UserError(f"{path}: does not hold every iteration from 0 to {until}, where the checkpoint is")
        write_metrics(path, kept)

    def last(self) -> Record:
        """The newest record. UserError where the file is damaged, IndexError where it has none."""
        return read_metrics(self._path)[-1]

    def amend(self, record: Record) -> None:
        """Puts a record in the place of the newest one."""
        write_metrics(self._path, [*read_metrics(self._path)[:-1], record])

    def append(self, records: Iterable[Record]) -> None:
        """Writes the records. On a full disk the last line may remain incomplete; no reader takes it for a record."""
        text = "".join(map(_line, records))
        with new_file(self._path, "a") as file:
            file.write(text)
            file.flush()
            fsync(file.fileno())


def read_metrics(path: Path) -> list[Record]:
    """The records of a file, without the incomplete line that a crash may have left at its end.

    Raises:
      UserError: another line is no record, or the file cannot be read.
    """
    return _records(path, None)


def _records(path: Path, most: int | None) -> list[Record]:
    """The first records of a file, or all; what comes after these is not looked at."""
    try:
        content = read_bytes(path, _LARGEST) if path.exists() else b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    lines = content.split(b"\n")[:-1]  # what follows the last line break is empty or incomplete
    return [_record(path, number, line) for number, line in enumerate(lines[:most], 1)]


def _record(path: Path, number: int, line: bytes) -> Record:
    """The record in a line: its iteration, and numbers by name. UserError where it is none."""
    try:
        record = json.loads(line)
        if not isinstance(record["iteration"], int) or not all(map(_is_value, record.values())):
            raise TypeError
        if any(record[name] < 0 for name in _COUNTED):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(f"{path}: line {number} is damaged; a run is resumed only where nothing is missing") from None
    return record


def _is_value(value: Any) -> bool:
    """Whether it is a number, or some: `json` reads NaN and infinities, too, which nobody has written."""
    if isinstance(value, list):
        return all(map(_is_value, value)) and not any(isinstance(part, list) for part in value)
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def check_numbers(path: Path, records: Iterable[Record], names: Callable[[Record], Iterable[str]]) -> None:
    """Refuses records without a number that is needed of them.

    Args:
      path: their file.
      records: those of its first lines.
      names: of the numbers that are needed of a record.

    Raises:
      UserError: names the line, and what it does not have.
    """
    for number, record in enumerate(records, 1):
        for name in names(record):
            if not isinstance(record.get(name), int | float):
                raise UserError(
                    f"{path}: line {number} has no number {name}, which is needed; allowed: as it was written"
                )


def last_record(path: Path) -> Record:
    """The newest whole record of a file, without reading all of it.

    Raises:
      UserError: it has none, is damaged there, or cannot be read.
    """
    try:
        check_regular(path, _LARGEST)
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        return _record(path, len(lines), lines[-1])
    except (OSError, IndexError, UserError):
        raise UserError(f"{path}: has no whole record at its end") from None


def write_metrics(path: Path, records: Iterable[Record]) -> None:
    """Writes a file of records, whole or not at all; OSError where it cannot."""
    write_whole(path, "".join(map(_line, records)))


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
