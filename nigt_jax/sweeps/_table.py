"""Writes ``results.parquet``: ``python -m nigt_jax.sweeps._table FILE`` reads rows from standard input.

It is a process of its own: pyarrow's libraries do not always get on with XLA's in one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nigt_jax.errors import RunError


def write_table(path: Path, columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows as Parquet, whole or not at all.

    Args:
      path: the file.
      columns: those that come first, also where no row has them.
      rows: by column; what a row leaves out is null. A column whose values are not all of a kind is one of texts.

    Raises:
      RunError: it cannot be written.
    """
    rows = list(rows)
    lines = "\n".join(json.dumps(row) for row in ({"columns": list(columns), "rows": len(rows)}, *rows))
    command = [sys.executable, "-m", "nigt_jax.sweeps._table", str(path)]
    with _asked_nothing():
        done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RunError(f"{path}: cannot be written: {last[0] if last else 'the process that should was killed'}")


@contextlib.contextmanager
def _asked_nothing() -> Iterator[None]:
    """Has a process that is started here be deaf to whoever asks a sweep to stop.

    Ctrl-C, or a scheduler, asks all processes at once. The sweep itself hears it when the table is there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write(path: Path, lines: Iterable[bytes]) -> None:
    import pyarrow
    import pyarrow.parquet

    first, *rows = map(json.loads, lines)
    if len(rows) != first["rows"]:
        raise EOFError(f"{len(rows)} rows of {first['rows']}: the process that sent them was killed")
    names = dict.fromkeys([*first["columns"], *(name for row in rows for name in row)])
    columns = {name: _alike([row.get(name) for row in rows]) for name in names}
    table = pyarrow.table({name: pyarrow.array(values, _kind(values)) for name, values in columns.items()})
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        pyarrow.parquet.write_table(table, temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _kind(values: list[Any]) -> Any:
    """The type of a column that has no value at all; None for the one that its values have."""
    import pyarrow

    return None if any(value is not None for value in values) else pyarrow.string()


def _alike(values: list[Any]) -> list[Any]:
    """Values of one kind: all numbers real where one is, and all texts where they are not of one kind."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1 or dict in kinds:
        return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return values


if __name__ == "__main__":
    _write(Path(sys.argv[1]), sys.stdin.buffer)
