"""Recorded times of gradients and exchanges, from a file that any tool can write."""

from typing import Any, NamedTuple

import numpy as np

from nigt_jax.config._trace_files import Rows, read_rows
from nigt_jax.errors import UserError

SHORTEST_TIME, LONGEST_TIME = 1e-30, 1e30
"""Times of a gradient or an exchange: a float32 holds their sums and products to the last bit."""
MOST_WORKERS = 1_000_000


class RecordedTimes(NamedTuple):
    """The times of each worker's consecutive gradients; memory is that of the rows of the file.

    Attributes:
      durations: float64 of shape [rows], in time units: those of worker 1 in the order of the file, then worker 2's ...
      lengths: number of them of each worker, int64 of shape [workers]; at least 1.
      exchanges: mean time of each worker's exchanges, float64 of shape [workers]; None where none was recorded.
    """

    durations: np.ndarray
    lengths: np.ndarray
    exchanges: np.ndarray | None


def read_trace(path: str, workers: int) -> RecordedTimes:
    """The recorded times in a file.

    A gradient that was broken off would have taken longer than was seen. How much longer is taken from the
    distribution of the worker's times that the product-limit estimate gives, after Kaplan and Meier (1958).

    Args:
      path: a CSV file with a header, or a Parquet file (``*.parquet``), a row for every gradient: columns
        ``worker`` (1, 2, ...) and ``duration`` (between 1e-30 and 1e30, in time units); if it has them, ``complete``
        (1, or 0 where it was broken off after that time) and ``exchange`` (time of the exchange before it, 0 or more;
        empty where it followed another one at once). Other columns are not read.
      workers: how many there are; each needs at least one row.

    Returns:
      The times.

    Raises:
      UserError: says where the file is not like that.
    """
    where = f"workers.trace: {path}"
    rows = read_rows(path, where)
    worker, duration = rows.columns["worker"], rows.columns["duration"]
    if not worker.size:
        raise UserError(f"{where}: has no rows, allowed: at least one for each of {workers} workers")
    _check(rows, workers, where)
    index = worker.astype(np.int64) - 1
    lengths = np.bincount(index, minlength=workers)
    if not lengths.all():
        silent = int(np.argmin(lengths)) + 1
        raise UserError(f"{where}: has no row of worker {silent}, allowed: at least one for each of {workers}")
    order = np.argsort(index, kind="stable")
    times, ends = duration[order].astype(np.float64), np.cumsum(lengths)[:-1]
    if "complete" in rows.columns:
        complete = np.split(rows.columns["complete"][order] == 1, ends)
        times = np.concatenate([brought_to_an_end(*own) for own in zip(np.split(times, ends), complete, strict=True)])
    return RecordedTimes(times, lengths, _exchanges(rows, index, workers))


def workers_in_trace(path: str) -> int:
    """The largest number of a worker in a file of recorded times; UserError where it cannot be read."""
    where = f"workers.trace: {path}"
    worker = read_rows(path, where).columns["worker"]
    known = worker[(worker >= 1) & (worker <= MOST_WORKERS)]
    return int(known.max(initial=1))


def _check(rows: Rows, workers: int, where: str) -> None:
    """UserError where a number is none of those that its column may have."""
    worker, duration = rows.columns["worker"], rows.columns["duration"]
    good = {
        "worker": (worker >= 1) & (worker <= workers) & (worker == np.floor(worker)),
        "duration": (duration >= SHORTEST_TIME) & (duration <= LONGEST_TIME),  # NaN is neither
    }
    allowed = {"worker": f"1 to {workers}", "duration": f"{SHORTEST_TIME:g} to {LONGEST_TIME:g}"}
    if "complete" in rows.columns:
        complete = rows.columns["complete"]
        good["complete"], allowed["complete"] = (complete == 0) | (complete == 1), "0 or 1"
    if "exchange" in rows.columns:
        time = rows.columns["exchange"]
        good["exchange"] = np.isnan(time) | (time == 0) | ((time >= SHORTEST_TIME) & (time <= LONGEST_TIME))
        allowed["exchange"] = f"0, {allowed['duration']}, or nothing"
    all_good = np.logical_and.reduce(list(good.values()))
    if not all_good.all():
        row = int(np.argmin(all_good))
        name = next(name for name, each in good.items() if not each[row])
        got = _shown(rows.columns[name][row])
        raise UserError(f"{where}: {rows.place(row)}: got {name} {got}, allowed: {allowed[name]}")


def brought_to_an_end(times: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """A worker's times, where those that were broken off are as long as they may have been.

    They lie at even distances in what the product-limit estimate leaves above the time at which each was broken off.
    What lies beyond all that was seen takes longer than the longest by what the worker needs for a gradient on average,
    or, if it has never had one, by all the time that it has worked.

    Args:
      times: of shape [rows], of consecutive gradients.
      complete: bool of shape [rows], whether the gradient came to an end after that time.

    Returns:
      Times of shape [rows].
    """
    if complete.all():
        return times
    beyond = times.max() + times.sum() / max(1, complete.sum())
    if not complete.any():
        return np.full_like(times, beyond)
    from scipy import stats  # takes a second or two to import

    seen = stats.ecdf(stats.CensoredData(times[complete], right=times[~complete])).sf
    end = np.unique(times[complete])
    left = seen.evaluate(end)  # the part that takes longer than each
    broken = times[~complete]
    rank = np.empty(broken.size)
    rank[np.argsort(broken, kind="stable")] = np.arange(broken.size)
    part = (rank * _GOLDEN + 0.5) % 1.0
    wanted = seen.evaluate(broken) * part
    place = np.searchsorted(-left, -wanted)  # the first after which no more than that is left
    whole = times.copy()
    whole[~complete] = np.append(end, beyond)[place]
    return whole


_GOLDEN = (np.sqrt(5) - 1) / 2  # multiples of it, modulo 1, fill the unit interval evenly


def _exchanges(rows: Rows, index: np.ndarray, workers: int) -> np.ndarray | None:
    """The mean of each worker; of a worker that has none, the mean of all."""
    times = rows.columns.get("exchange")
    if times is None or np.isnan(times).all():
        return None
    there = ~np.isnan(times)
    number = np.bincount(index[there], minlength=workers)
    total = np.bincount(index[there], times[there], workers)
    return np.where(number, total / np.maximum(number, 1), total.sum() / number.sum())


def _shown(value: Any) -> str:
    """A number as it stands in a file: without a point where it is whole."""
    return str(int(value)) if np.isfinite(value) and value == np.floor(value) else f"{value:g}"
