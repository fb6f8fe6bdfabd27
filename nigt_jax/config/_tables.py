"""Small files that people write by hand or with a spreadsheet, CSV or Parquet, as text."""

import contextlib
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nigt_jax.errors import UserError
from nigt_jax.files import MOST_SETTINGS, MOST_TABLE, check_regular

_MOST_ROWS = 10_000_000  # some windows of each of a million workers


class Table(NamedTuple):
    """A small file, as text.

    Attributes:
      where: how mistakes begin.
      columns: by name; all of one length.
      place: where a row stands in the file, in words.
    """

    where: str
    columns: dict[str, list[str]]
    place: Callable[[int], str]

    @property
    def number(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values())))

    def needs(self, name: str) -> None:
        """UserError where there is no such column."""
        if name not in self.columns:
            raise UserError(f"{self.where}: got columns {', '.join(self.columns)}, allowed: {name} among them")

    def one_of(self, *names: str) -> str:
        """Which of these columns there is; UserError unless it is one."""
        found = [name for name in names if name in self.columns]
        if len(found) != 1:
            got = ", ".join(self.columns)
            raise UserError(f"{self.where}: got columns {got}, allowed: one of {' and '.join(names)} among them")
        return found[0]

    def choice(self, name: str, row: int, allowed: Mapping[str, float]) -> float:
        """What a word stands for."""
        text = self.columns[name][row]
        if text not in allowed:
            raise self.mistake(row, name, ", ".join(allowed))
        return allowed[text]

    def number_of(self, name: str, row: int, or_zero: bool = False) -> float:
        """A number above 0, or 0."""
        text = self.columns[name][row]
        try:
            value = float("nan" if "_" in text else text)
        except ValueError:
            value = float("nan")
        if not (0 < value < float("inf") or (or_zero and value == 0)):
            allowed = "a number, 0 or more" if or_zero else "a number above 0"
            comma = "; decimals have a point" if "," in text else ""
            raise self.mistake(row, name, allowed + comma)
        return value

    def mistake(self, row: int, name: str, allowed: str) -> UserError:
        """Says what stands somewhere, and what may stand there."""
        return UserError(f"{self.where}: {self.place(row)}: got {name} {self.columns[name][row]!r}, allowed: {allowed}")


def read_table(path: str, where: str) -> Table:
    """A CSV file with a header, or a Parquet file, as text; at least one row.

    Raises:
      UserError: says where it is not like that.
    """
    with _told(where):
        check_regular(Path(path), MOST_SETTINGS)
        table = _parquet(path, where) if path.endswith(".parquet") else _csv(path, where)
    if not table.columns or not table.number:
        raise UserError(f"{where}: has no rows, allowed: a header and at least one")
    return table


def read_names(path: str, where: str) -> list[str]:
    """The names of a file's columns; its rows, of which there may be very many, are left alone."""
    with _told(where):
        check_regular(Path(path), MOST_TABLE)
        if path.endswith(".parquet"):
            return [name for name, _ in _from_parquet(path, "names")]
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(filter(None, csv.reader(file, skipinitialspace=True)), [])]


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """UserError where a file cannot be read."""
    try:
        yield
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(f"{where}: cannot be read: {reason}") from None


def _csv(path: str, where: str) -> Table:
    with Path(path).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark at the beginning
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if row]
    names = rows.pop(0)[1] if rows else []
    _refuse_twice(names, where)
    for line, row in rows:
        if len(row) != len(names):
            raise UserError(f"{where}: line {line}: got {len(row)} fields, allowed: {len(names)}, as in the header")
    columns = {name: [row[k] for _, row in rows] for k, name in enumerate(names)}
    return Table(where, columns, lambda row: f"line {rows[row][0]}")


def _parquet(path: str, where: str) -> Table:
    found = _from_parquet(path, "rows")
    _refuse_twice([name for name, _ in found], where)
    return Table(where, dict(found), lambda row: f"row {row + 1}")


def _from_parquet(path: str, what: str) -> list[tuple[str, list[str]]]:
    """Read in a process of its own: pyarrow's libraries do not always get on with XLA's in one."""
    Path(path).open("rb").close()  # to say in the usual words what is wrong with that
    asked = [path, what, str(_MOST_ROWS)]
    done = subprocess.run([sys.executable, "-c", _READER, *asked], capture_output=True, text=True, check=False)
    if done.returncode:
        kind, _, reason = "".join(done.stderr.strip().splitlines()[-1:]).partition(": ")
        raise ValueError(reason or kind)
    return [(name, values) for name, values in json.loads(done.stdout)]


_READER = """
import json, sys
from pyarrow import parquet
file = parquet.ParquetFile(sys.argv[1])
if sys.argv[2] == "rows" and file.metadata.num_rows > int(sys.argv[3]):
    raise ValueError(f"has {file.metadata.num_rows:,} rows, allowed: up to {int(sys.argv[3]):,}")
table = file.schema_arrow.empty_table() if sys.argv[2] == "names" else file.read()
text = lambda value: "" if value is None else str(value)
columns = zip(table.column_names, table.columns)
print(json.dumps([[name, [text(value) for value in column.to_pylist()]] for name, column in columns]))
"""


def _refuse_twice(names: list[str], where: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: got column {twice[0]!r} {names.count(twice[0])} times, allowed: once")
