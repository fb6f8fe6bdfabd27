"""Recorded times of gradients, from a file that any tool can write."""

import array
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nigt_jax.errors import UserError

_COLUMNS = ("worker", "duration")
SHORTEST_TIME, LONGEST_TIME = 1e-30, 1e30
"""Times of a gradient or an exchange: a float32 holds their sums and products to the last bit."""
MOST_ROWS = 10**9  # places in a recording are int32


class RecordedTimes(NamedTuple):
    """The times of each worker's consecutive gradients; memory is that of the rows of the file.

    Attributes:
      durations: float64 of shape [rows], in time units: those of worker 1 in the order of the file, then worker 2's ...
      lengths: number of them of each worker, int64 of shape [workers]; at least 1.
    """

    durations: np.ndarray
    lengths: np.ndarray


class _Rows(NamedTuple):
    """Both columns of a file, checked for nothing but being numbers.

    Attributes:
      worker: whole numbers or not, shape [rows].
      duration: likewise.
      place: where a row stands in the file, in words.
    """

    worker: np.ndarray
    duration: np.ndarray
    place: Callable[[int], str]


def read_trace(path: str, workers: int) -> RecordedTimes:
    """The recorded times in a file.

    Args:
      path: a CSV file with a header, or a Parquet file (``*.parquet``): columns ``worker`` (1, 2, ...)
        and ``duration`` (between 1e-30 and 1e30, in time units), a row for every gradient; other columns are not read.
      workers: how many there are; each needs at least one row.

    Returns:
      The times.

    Raises:
      UserError: says where the file is not like that.
    """
    where = f"workers.trace: {path}"
    worker, duration, place = _read(path, where)
    if not worker.size:
        raise UserError(f"{where}: has no rows, allowed: at least one for each of {workers} workers")
    if worker.size > MOST_ROWS:
        raise UserError(f"{where}: got {worker.size:,} rows, allowed: up to {MOST_ROWS:,}")
    known = (worker >= 1) & (worker <= workers) & (worker == np.floor(worker))
    good = known & (duration >= SHORTEST_TIME) & (duration <= LONGEST_TIME)  # NaN is neither
    if not good.all():
        row = int(np.argmin(good))
        what, value, allowed = ("duration", duration[row], f"{SHORTEST_TIME:g} to {LONGEST_TIME:g}")
        if not known[row]:
            what, value, allowed = ("worker", worker[row], f"1 to {workers}")
        raise UserError(f"{where}: {place(row)}: got {what} {_shown(value)}, allowed: {allowed}")
    index = worker.astype(np.int64) - 1
    lengths = np.bincount(index, minlength=workers)
    if not lengths.all():
        silent = int(np.argmin(lengths)) + 1
        raise UserError(f"{where}: has no row of worker {silent}, allowed: at least one for each of {workers}")
    ordered = duration[np.argsort(index, kind="stable")].astype(np.float64)
    return RecordedTimes(ordered, lengths)


def _read(path: str, where: str) -> _Rows:
    try:
        return _parquet(path, where) if path.endswith(".parquet") else _csv(path, where)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(f"{where}: cannot be read: {reason}") from None


def _check_names(names: list[str], where: str) -> None:
    """UserError where it is not clear which columns are meant."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: got column {twice[0]!r} {names.count(twice[0])} times, allowed: once")
    if not set(names) >= set(_COLUMNS):
        other = next((s for s in (";", "\t", "|") if len(names) == 1 and s in names[0]), None)
        hint = f"; fields are separated by commas, not by {other!r}" if other else ""
        given = ", ".join(names)
        raise UserError(f"{where}: got columns {given}, allowed: worker and duration among them{hint}")


def _csv(path: str, where: str) -> _Rows:
    """A CSV file in UTF-8, row by row; every row has as many fields as the header."""
    worker, duration, lines = array.array("d"), array.array("d"), array.array("q")
    with Path(path).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark at the beginning
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        try:
            rows = (row for row in reader if row)  # a line with nothing in it is no row
            names = [name.strip() for name in next(rows, [])]
            if not names:
                raise UserError(f"{where}: is empty, allowed: a header and a row for every gradient")
            _check_names(names, where)
            first, second = map(names.index, _COLUMNS)
            for row in rows:
                if len(row) != len(names):
                    raise _wrong_length(where, reader.line_num, len(row), len(names))
                worker.append(_number(row[first]))
                duration.append(_number(row[second]))
                lines.append(reader.line_num)
        except csv.Error as error:
            raise UserError(f"{where}: line {reader.line_num}: not CSV: {error}") from None
        except _NotANumberError:
            got = f"worker {row[first]!r}, duration {row[second]!r}"
            comma = "; decimals have a point" if "," in row[second] else ""
            raise UserError(f"{where}: line {reader.line_num}: got {got}, allowed: two numbers{comma}") from None
    return _Rows(np.asarray(worker), np.asarray(duration), lambda row: f"line {lines[row]}")


class _NotANumberError(Exception):
    """A field that holds something else."""


def _number(text: str) -> float:
    try:
        if "_" not in text:  # Python takes 1_0 for 10
            return float(text)
    except ValueError:
        pass
    raise _NotANumberError


def _wrong_length(where: str, line: int, got: int, wanted: int) -> UserError:
    hint = "; decimals have a point, not a comma" if got > wanted else ""
    fields = "field" if got == 1 else "fields"
    return UserError(f"{where}: line {line}: got {got} {fields}, allowed: {wanted}, as in the header{hint}")


def _parquet(path: str, where: str) -> _Rows:
    """Read in a process of its own: pyarrow's libraries do not always get on with XLA's in one."""
    Path(path).open("rb").close()  # to say in the usual words what is wrong with that
    done = subprocess.run([sys.executable, "-c", _READER, path, *_COLUMNS], capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        kind, _, reason = "".join(last).partition(": ")
        raise ValueError(reason or kind)
    head, _, data = done.stdout.partition(b"\n")
    found = json.loads(head)
    _check_names(found["names"], where)
    for name in _COLUMNS:
        kind, missing = found["types"][name], found["missing"][name]
        if found["numbers"][name] is None:
            raise UserError(f"{where}: column {name} is of type {kind}, allowed: integers or floats")
        if missing is not None:
            raise UserError(f"{where}: row {missing + 1}: has no {name}, allowed: a number")
    half = len(data) // 2
    worker, duration = (np.frombuffer(data, found["numbers"][n], half // 8, k * half) for k, n in enumerate(_COLUMNS))
    return _Rows(worker, duration, lambda row: f"row {row + 1}")


# Whole numbers stay whole: a float64 would round large ones. One line of JSON, then both columns, 8 bytes a number.
_READER = """
import json, sys
import numpy as np
import pyarrow as pa
from pyarrow import parquet, types
with open(sys.argv[1], "rb") as source:
    file = parquet.ParquetFile(source)
    schema, wanted = file.schema_arrow, sys.argv[2:]
    found, columns = {"names": schema.names, "types": {}, "numbers": {}, "missing": {}}, []
    if all(schema.names.count(name) == 1 for name in wanted):
        table = file.read([name for name in schema.names if name in wanted])
        for name in wanted:
            column, kind = table.column(name), schema.field(name).type
            whole, real = types.is_integer(kind), types.is_floating(kind) or types.is_decimal(kind)
            found["types"][name], found["numbers"][name] = str(kind), "<i8" if whole else "<f8" if real else None
            missing = np.flatnonzero(column.is_null().to_numpy())
            found["missing"][name] = int(missing[0]) if missing.size else None
            if (whole or real) and not missing.size:
                columns.append(column.cast(pa.int64() if whole else pa.float64()).to_numpy())
print(json.dumps(found), flush=True)
for column in columns:
    sys.stdout.buffer.write(column.tobytes())
"""


def _shown(value: Any) -> str:
    """A number as it stands in a file: without a point where it is whole."""
    return str(int(value)) if np.isfinite(value) and value == np.floor(value) else f"{value:g}"
