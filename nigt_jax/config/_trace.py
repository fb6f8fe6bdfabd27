"""Recorded times of gradients, from a file that any tool can write."""

import csv
import math
from pathlib import Path
from typing import Any

from nigt_jax.errors import UserError


def read_trace(path: str, workers: int) -> list[list[float]]:
    """The times of each worker's consecutive gradients, in the order of the file.

    Args:
      path: a CSV file with a header, or a Parquet file (needs pyarrow): columns ``worker`` (1, 2, ...) and ``duration``
        (above 0, in time units), a row for every gradient; other columns are not read.
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
            index, time = int(worker), float(duration)
        except (TypeError, ValueError):
            raise UserError(f"{where}: row {number}: got {worker!r}, {duration!r}, allowed: two numbers") from None
        if not 1 <= index <= workers:
            raise UserError(f"{where}: row {number}: got worker {index}, allowed: 1 to {workers}")
        if not (1e-37 < time < 1e37 and math.isfinite(time)):
            raise UserError(f"{where}: row {number}: got duration {time}, allowed: above 0 and finite")
        rows[index - 1].append(time)
    silent = [i + 1 for i, row in enumerate(rows) if not row]
    if silent:
        raise UserError(f"{where}: has no row of worker {silent[0]}, allowed: at least one for each of {workers}")
    return rows


def _columns(path: str, where: str) -> list[tuple[Any, Any]]:
    try:
        table = _parquet(path) if path.endswith(".parquet") else _csv(path)
    except ModuleNotFoundError:
        raise UserError(f"{where}: reading Parquet needs pyarrow, which is not installed; or give a CSV file") from None
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(f"{where}: cannot be read: {reason}") from None
    if not {"worker", "duration"} <= table.keys():
        raise UserError(f"{where}: got columns {', '.join(table) or 'none'}, allowed: worker and duration among them")
    return list(zip(table["worker"], table["duration"], strict=True))


def _csv(path: str) -> dict[str, list[Any]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}


def _parquet(path: str) -> dict[str, list[Any]]:
    from pyarrow import parquet

    wanted = {"worker", "duration"}
    return parquet.read_table(path, columns=[c for c in parquet.read_schema(path).names if c in wanted]).to_pydict()
