"""Workers from files: what they are and when they are there, as people have it, becomes settings."""

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

from nigt_jax.config._tables import Table, read_names, read_table
from nigt_jax.config._trace import LONGEST_TIME, MOST_WORKERS, SHORTEST_TIME, workers_in_trace
from nigt_jax.errors import UserError

_TIMES = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_SPEEDS = {f"1/{unit}": seconds for unit, seconds in _TIMES.items()}
_BITS = 32  # of a parameter in a message
_DAY = 86400.0
_DIGITS = 9  # of the number of a worker
_NO_EXCHANGES = {"communication_time": {"scale": 0.0}}
_CLOCK = re.compile(r"([01]?\d|2[0-3]|24(?=:00$)):([0-5]\d)(?::([0-5]\d))?")


FILES = ("workers.trace", "workers.file", "workers.availability", "policy.start")
"""Settings that are paths."""


def with_paths(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings with paths from the current folder, of files that stand relative to `folder` or begin with ``~``.

    A file that is not there is looked for in the current folder, as all were before paths belonged to their file.
    """

    def whole(path: Any) -> Any:
        if not isinstance(path, str):
            return path
        wanted = folder / at_home(path)
        return path if not _is_there(wanted) and _is_there(Path(path)) else str(wanted)

    found = dict(data)
    for setting in FILES:
        section, _, key = setting.partition(".")
        if isinstance(found.get(section), dict) and key in found[section]:
            found[section] = found[section] | {key: whole(found[section][key])}
    return found


def at_home(path: str) -> Path:
    """A path whose ``~`` is a home folder. UserError where there is none of that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no home folder of this name") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def with_files(data: Mapping[str, Any], given: Set[str]) -> dict[str, Any]:
    """Settings in which what files of workers say stands in their place.

    ``workers.file`` becomes the number of workers, their times and exchanges; ``workers.availability`` becomes changes
    of speed. ``workers.trace`` stays, and says how many workers there are where nothing else does. With times from a
    file exchanges take none, unless the file or a setting says how long they take.

    Args:
      data: nested mappings of a configuration, as yet unchecked; paths are from the current folder.
      given: dotted keys that the user has given beside the configuration's file, where a setting that a file replaces
        would be one too many.

    Raises:
      UserError: a file cannot be read, or its rows are not what they may be.
    """
    workers = data.get("workers")
    if not isinstance(workers, dict):
        return dict(data)
    workers, names = dict(workers), None
    if isinstance(workers.get("file"), str):
        names, settings = read_workers(workers["file"])
        _refuse_both(given, "file", tuple(settings))
        workers = _NO_EXCHANGES | workers | settings | {"file": None}
    if isinstance(workers.get("availability"), str):
        _refuse_both(given, "availability", ("speed",))
        workers |= {"speed": read_availability(workers["availability"], names), "availability": None}
    if isinstance(workers.get("trace"), str) and "count" not in workers:
        workers["count"] = workers_in_trace(workers["trace"])
    if isinstance(workers.get("trace"), str):
        workers = _NO_EXCHANGES | workers
    return dict(data) | {"workers": workers}


def _refuse_both(given: Set[str], key: str, others: tuple[str, ...]) -> None:
    for setting in sorted(given):
        if setting.split(".")[:2] in [["workers", other] for other in others]:
            raise UserError(f"{setting}: got it beside workers.{key}, which says it; allowed: one of both")


def settings_from(path: str) -> dict[str, Any]:
    """A configuration of nothing but the workers in a file: a row for each, or one for every recorded gradient.

    Raises:
      UserError: it cannot be read.
    """
    recorded = "duration" in read_names(path, path)
    return {"workers": {"trace" if recorded else "file": path}}


class Crew(NamedTuple):
    """Workers of a file.

    Attributes:
      names: of each, as the file has them; "1", "2" and so on where it has none.
      settings: what it says, under ``workers``.
    """

    names: list[str]
    settings: dict[str, Any]


def read_workers(path: str) -> Crew:
    """The workers in a file, a row for each.

    Args:
      path: a CSV file with a header, or a Parquet file. Columns: ``time`` of a gradient, or ``speed``, gradients of a
        unit of time; if it has them, ``worker``, a name; ``unit`` (s, ms, min, h; of speeds 1/s, 1/min ...), after
        which time is in seconds; ``communication_time`` of an exchange in the same unit of time, or ``link_speed`` in
        Mbit/s, which needs a unit. Other columns are not read.

    Raises:
      UserError: says where the file is not like that.
    """
    table = read_table(path, f"workers.file: {path}")
    if table.number > MOST_WORKERS:
        raise UserError(f"{table.where}: got {table.number:,} workers, allowed: up to {MOST_WORKERS:,}")
    kind = table.one_of("time", "speed")
    seconds = [1.0] * table.number
    units = _TIMES if kind == "time" else _SPEEDS
    if "unit" in table.columns:
        seconds = [table.choice("unit", row, units) for row in range(table.number)]
    given = [table.number_of(kind, row) for row in range(table.number)]
    times = [each * unit if kind == "time" else unit / each for each, unit in zip(given, seconds, strict=True)]
    settings = {"count": table.number, "compute_time": {"values": _checked(table, times, kind)}}
    return Crew(_names(table), settings | _exchanges(table, seconds))


def _exchanges(table: Table, seconds: list[float]) -> dict[str, Any]:
    """What the file says of exchanges, under ``workers``; `seconds` are those of each worker's unit of time."""
    both = [name for name in ("communication_time", "link_speed") if name in table.columns]
    if len(both) == 2:
        raise UserError(f"{table.where}: got columns communication_time and link_speed, allowed: one of both")
    if both == ["communication_time"]:
        given = [table.number_of("communication_time", row, or_zero=True) for row in range(table.number)]
        exchanges = [each * unit for each, unit in zip(given, seconds, strict=True)]
        return {"communication_time": {"values": _checked(table, exchanges, "communication_time")}}
    if both == ["link_speed"]:
        if "unit" not in table.columns:
            raise UserError(f"{table.where}: link_speed is in Mbit/s, but times have no unit; allowed: a column unit")
        megabits = [table.number_of("link_speed", row) for row in range(table.number)]
        one = _checked(table, [_BITS / (each * 1e6) for each in megabits], "link_speed")
        return {"communication_time": {"values": one, "parameter_exponent": 1.0}}  # they are seconds of a parameter
    return {}


def read_availability(path: str, names: list[str] | None) -> dict[str, Any]:
    """The changes of speed of workers that are there in the windows of a file alone.

    Args:
      path: a CSV file with a header, or a Parquet file, a row for every window: ``worker``, ``start`` and ``end``. Both
        are times of the day (``22:30``; a window may go over midnight; time is then in seconds, and days begin at
        midnight), or both are numbers of time units. A worker without a row is always there.
      names: of the workers; None where they have numbers alone.

    Raises:
      UserError: says where the file is not like that.
    """
    table = read_table(path, f"workers.availability: {path}")
    for needed in ("worker", "start", "end"):
        table.needs(needed)
    by_day = all(_CLOCK.fullmatch(text) for name in ("start", "end") for text in table.columns[name])
    windows: dict[int, list[tuple[float, float]]] = {}
    for row in range(table.number):
        worker = _number_of_worker(table, row, names)
        read = _seconds_of_day if by_day else lambda text, row, name: table.number_of(name, row, or_zero=True)
        start, end = (read(table.columns[name][row], row, name) for name in ("start", "end"))
        if start == end or (end < start and not by_day):
            shown = f"start {table.columns['start'][row]}, end {table.columns['end'][row]}"
            raise UserError(f"{table.where}: {table.place(row)}: got {shown}, allowed: an end after the start")
        over_midnight = [(start, _DAY), (0.0, end)]
        windows.setdefault(worker, []).extend([(start, end)] if start < end else over_midnight)
    changes = [
        {"workers": [worker], "start": start, "end": end, "factor": 0.0}
        for worker, own in sorted(windows.items())
        for start, end in _gaps(own, _DAY if by_day else None)
    ]
    return {"period": _DAY if by_day else None, "changes": changes}


def _gaps(windows: list[tuple[float, float]], last: float | None) -> list[tuple[float, float | None]]:
    """The times between windows, from 0 to the last time, or for ever."""
    gaps: list[tuple[float, float | None]] = []
    reached = 0.0
    for start, end in sorted(windows):
        if start > reached:
            gaps.append((reached, start))
        reached = max(reached, end)
    if last is None or reached < last:
        gaps.append((reached, last))
    return gaps


def _seconds_of_day(text: str, row: int, name: str) -> float:
    del row, name
    hours, minutes, seconds = (int(part or 0) for part in _CLOCK.fullmatch(text).groups())  # type: ignore[union-attr]
    return 3600.0 * hours + 60 * minutes + seconds


def _number_of_worker(table: Table, row: int, names: list[str] | None) -> int:
    """From 1."""
    given = table.columns["worker"][row]
    if names is not None and given in names:
        return names.index(given) + 1
    if names is None and given.isdecimal() and len(given) <= _DIGITS and int(given) >= 1:
        return int(given)
    raise table.mistake(row, "worker", "a number from 1 on" if names is None else "a worker of workers.file")


def _checked(table: Table, times: list[float], name: str) -> list[float]:
    """Times in the unit of the clocks; UserError where one is none that they can hold."""
    for row, time in enumerate(times):
        if time and not SHORTEST_TIME <= time <= LONGEST_TIME:
            raise table.mistake(row, name, f"what makes a time of {SHORTEST_TIME:g} to {LONGEST_TIME:g}, not {time:g}")
    return times


def _names(table: Table) -> list[str]:
    """Those of the column ``worker``, each once, or numbers."""
    names = table.columns.get("worker", [str(k + 1) for k in range(table.number)])
    seen: set[str] = set()
    for row, name in enumerate(names):
        if name in seen:
            raise table.mistake(row, "worker", "each worker once")
        seen.add(name)
    return names
