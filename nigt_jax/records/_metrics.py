"""metrics.jsonl: one record a line, only ever appended to, and cut back to a checkpoint when a run is resumed."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nigt_jax.errors import UserError
from nigt_jax.records._folder import write_whole

Record = dict[str, Any]
_TAIL = 2**20  # bytes; a record of a thousand workers' returns is some twenty thousand


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
        kept = [] if until < 0 else read_metrics(path)[: until + 1]
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
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def read_metrics(path: Path) -> list[Record]:
    """The records of a file, without the incomplete line that a crash may have left at its end.

    Raises:
      UserError: another line is no record, or the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    records = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is empty or incomplete
        try:
            record = json.loads(line)
            if not isinstance(record["iteration"], int):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path}: line {number} is damaged; a run is resumed only where nothing is missing"
            ) from None
        records.append(record)
    return records


def last_record(path: Path) -> Record:
    """The newest whole record of a file, without reading all of it.

    Raises:
      UserError: it has none, is damaged there, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        raise UserError(f"{path}: has no whole record at its end") from None


def write_metrics(path: Path, records: Iterable[Record]) -> None:
    """Writes a file of records, whole or not at all; OSError where it cannot."""
    write_whole(path, "".join(map(_line, records)))


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
