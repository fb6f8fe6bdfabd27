"""Recorded times of gradients, from a file that any tool can write."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from nigt_jax.errors import UserError

_COLUMNS = ("worker", "duration")


def read_trace(path: str, workers: int) -> list[list[float]]:
    """The times of each worker's consecutive gradients, in the order of the file.

    Args:
      path: a CSV file with a header, or a Parquet file (``*.parquet``, needs pyarrow): columns ``worker`` (1, 2, ...)
        and ``duration`` (above 0, in time units), a row for every gradient; other columns are not read.
      workers: how many there are; each needs at least one row.

    Returns:
      A list for each worker.

    Raises:
      UserError: says where the file is not like that.
    """
    where = f"workers.trace: {path}"
    rows: list[list[float]] = [[] for _ in range(workers)]
    for number, (worker, duration) in enumerate(_columns(path, where), 1):
        try:
            index, time = float(worker), float(duration)
        except (TypeError, ValueError):
            raise UserError(f"{where}: row {number}: got {worker!r}, {duration!r}, allowed: two numbers") from None
        if not (1 <= index <= workers and index.is_integer()):
            raise UserError(f"{where}: row {number}: got worker {worker}, allowed: 1 to {workers}")
        if not (1e-37 < time < 1e37 and math.isfinite(time)):
            raise UserError(f"{where}: row {number}: got duration {time}, allowed: above 0 and finite")
        rows[int(index) - 1].append(time)
    silent = [i + 1 for i, row in enumerate(rows) if not row]
    if silent:
        raise UserError(f"{where}: has no row of worker {silent[0]}, allowed: at least one for each of {workers}")
    return rows


def _columns(path: str, where: str) -> list[tuple[Any, Any]]:
    try:
        table = _parquet(path) if path.endswith(".parquet") else _csv(path)
    except ModuleNotFoundError:
        raise UserError(
            f"{where}: Parquet needs pyarrow, which is not there; pip install 'nigt_jax[parquet]', or give a CSV file"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(f"{where}: cannot be read: {reason}") from None
    if not table.keys() >= set(_COLUMNS):
        raise UserError(f"{where}: got columns {', '.join(table) or 'none'}, allowed: worker and duration among them")
    return list(zip(*(table[name] for name in _COLUMNS), strict=True))


def _csv(path: str) -> dict[str, list[Any]]:
    with Path(path).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark at the beginning
        reader = csv.DictReader(file)
        rows = list(reader)
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}


def _parquet(path: str) -> dict[str, list[Any]]:
    """Read in a process of its own: pyarrow's libraries do not always get on with XLA's in one."""
    Path(path).open("rb").close()  # to say in the usual words what is wrong with that
    done = subprocess.run([sys.executable, "-c", _READER, path, *_COLUMNS], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)
    kind, _, reason = done.stderr.strip().splitlines()[-1].partition(": ")
    raise ModuleNotFoundError(reason) if kind == "ModuleNotFoundError" else ValueError(reason or kind)


_READER = """
import json, sys
from pyarrow import parquet
with open(sys.argv[1], "rb") as source:
    file = parquet.ParquetFile(source)
    names = file.schema_arrow.names
    wanted = file.read([name for name in names if name in sys.argv[2:]]).to_pydict()
json.dump({name: wanted.get(name, []) for name in names}, sys.stdout, default=str)
"""
