"""Files of recorded times, CSV or Parquet: their columns as numbers, or one line that says what is wrong."""

import array
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nigt_jax.errors import UserError
from nigt_jax.files import MOST_TABLE, check_regular

MOST_ROWS = 10**9  # places in a recording are int32

_NEEDED = ("worker", "duration")
_MAY_BE_EMPTY = ("exchange",)
_COLUMNS = (*_NEEDED, "complete", *_MAY_BE_EMPTY)


class Rows(NamedTuple):
    """The columns of a file, checked for nothing but being numbers.

    Attributes:
      columns: float64 or int64 of shape [rows] each, by name; NaN where nothing stands and nothing needs to.
      place: where a row stands in the file, in words.
    """

    columns: dict[str, np.ndarray]
    place: Callable[[int], str]


def read_rows(path: str, where: str) -> Rows:
    """The columns ``worker`` and ``duration`` of a file, and ``complete`` and ``exchange`` if it has them.

    Args:
      path: a CSV file with a header, or a Parquet file (``*.parquet``).
      where: how mistakes begin.

    Raises:
      UserError: says where the file is not like that.
    """
    try:
        check_regular(Path(path), MOST_TABLE)
        return _parquet(path, where) if path.endswith(".parquet") else _csv(path, where)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(f"{where}: cannot be read: {reason}") from None


def _wanted(names: list[str], where: str) -> list[str]:
    """The columns of interest among these; UserError where it is not clear which columns are meant."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: got column {twice[0]!r} {names.count(twice[0])} times, allowed: once")
    if not set(names) >= set(_NEEDED):
        other = next((s for s in (";", "\t", "|") if len(names) == 1 and s in names[0]), None)
        hint = f"; fields are separated by commas, not by {other!r}" if other else ""
        given = ", ".join(names)
        raise UserError(f"{where}: got columns {given}, allowed: worker and duration among them{hint}")
    return [name for name in _COLUMNS if name in names]


def _csv(path: str, where: str) -> Rows:
    """A CSV file in UTF-8, row by row; every row has as many fields as the header."""
    lines = array.array("q")
    with Path(path).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark at the beginning
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        try:
            rows = (row for row in reader if row)  # a line with nothing in it is no row
            names = [name.strip() for name in next(rows, [])]
            if not names:
                raise UserError(f"{where}: is empty, allowed: a header and a row for every gradient")
            found = {name: array.array("d") for name in _wanted(names, where)}
            fields = [(names.index(name), name in _MAY_BE_EMPTY, column) for name, column in found.items()]
            for row in rows:
                if len(row) != len(names):
                    raise _wrong_length(where, reader.line_num, len(row), len(names))
                for place, may_be_empty, column in fields:
                    column.append(_number(row[place], may_be_empty))
                lines.append(reader.line_num)
                if len(lines) > MOST_ROWS:
                    raise UserError(f"{where}: got more than {MOST_ROWS:,} rows, allowed: up to {MOST_ROWS:,}")
        except csv.Error as error:
            raise UserError(f"{where}: line {reader.line_num}: not CSV: {error}") from None
        except _NotANumberError:
            got = ", ".join(f"{name} {row[place]!r}" for name, (place, _, _) in zip(found, fields, strict=True))
            numbers = "two numbers" if len(found) == len(_NEEDED) else "numbers"
            comma = "; decimals have a point" if any("," in row[place] for place, _, _ in fields) else ""
            raise UserError(f"{where}: line {reader.line_num}: got {got}, allowed: {numbers}{comma}") from None
    return Rows({name: np.asarray(column) for name, column in found.items()}, lambda row: f"line {lines[row]}")


class _NotANumberError(Exception):
    """A field that holds something else."""


def _number(text: str, may_be_empty: bool) -> float:
    if may_be_empty and not text.strip():
        return np.nan
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


def _parquet(path: str, where: str) -> Rows:
    """Read in a process of its own: pyarrow's libraries do not always get on with XLA's in one."""
    Path(path).open("rb").close()  # to say in the usual words what is wrong with that
    asked = [path, ",".join(_COLUMNS), ",".join(_MAY_BE_EMPTY), str(MOST_ROWS)]
    done = subprocess.run([sys.executable, "-c", _READER, *asked], capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        kind, _, reason = "".join(last).partition(": ")
        raise ValueError(reason or kind)
    head, _, data = done.stdout.partition(b"\n")
    told = json.loads(head)
    names = _wanted(told["names"], where)
    for name in names:
        kind, missing = told["types"][name], told["missing"][name]
        if told["numbers"][name] is None:
            raise UserError(f"{where}: column {name} is of type {kind}, allowed: integers or floats")
        if missing is not None and name not in _MAY_BE_EMPTY:
            raise UserError(f"{where}: row {missing + 1}: has no {name}, allowed: a number")
    size = len(data) // len(names)
    columns = {n: np.frombuffer(data, told["numbers"][n], size // 8, k * size) for k, n in enumerate(told["sent"])}
    return Rows(columns, lambda row: f"row {row + 1}")


# Whole numbers stay whole: a float64 would round large ones. One line of JSON, then the columns, 8 bytes a number.
_READER = """
import json, sys
import numpy as np
import pyarrow as pa
from pyarrow import parquet, types
path, wanted, may_be_empty = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
with open(path, "rb") as source:
    file = parquet.ParquetFile(source)
    if file.metadata.num_rows > int(sys.argv[4]):
        raise ValueError(f"has {file.metadata.num_rows:,} rows, allowed: up to {int(sys.argv[4]):,}")
    schema = file.schema_arrow
    wanted = [name for name in wanted if schema.names.count(name) == 1]
    found, columns = {"names": schema.names, "types": {}, "numbers": {}, "missing": {}, "sent": wanted}, []
    table = file.read(wanted)
    for name in wanted:
        column, kind = table.column(name), schema.field(name).type
        empty = name in may_be_empty
        whole = types.is_integer(kind) and not empty
        real = types.is_floating(kind) or types.is_decimal(kind)
        real = real or (empty and (types.is_integer(kind) or types.is_null(kind)))
        found["types"][name], found["numbers"][name] = str(kind), "<i8" if whole else "<f8" if real else None
        missing = np.flatnonzero(column.is_null().to_numpy())
        found["missing"][name] = int(missing[0]) if missing.size else None
        if (whole or real) and (empty or not missing.size):
            columns.append(column.cast(pa.int64() if whole else pa.float64()).to_numpy())
print(json.dumps(found), flush=True)
for column in columns:
    sys.stdout.buffer.write(column.tobytes())
"""
