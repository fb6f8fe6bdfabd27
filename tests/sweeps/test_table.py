"""The table of a sweep, written by a process of its own: whole or not at all, whatever comes to either process."""

import os
import subprocess
import sys

import pyarrow.parquet
import pytest

from nigt_jax.errors import RunError
from nigt_jax.sweeps._table import write_table

ROWS = [{"run": "a", "iteration": 0}, {"run": "a", "iteration": 2**53 + 1}]


def rows_of(path):
    return pyarrow.parquet.read_table(path).to_pylist()


def started_by(tmp_path, monkeypatch, first):
    """Has Python be started by a script that does something before."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n{first}\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_who_asks_all_processes_to_stop_gets_a_whole_table(tmp_path, monkeypatch):
    """As Ctrl-C in a terminal does, a scheduler, and a terminal that closes."""
    started_by(tmp_path, monkeypatch, "kill -INT $$\nkill -TERM $$\nkill -HUP $$")
    write_table(tmp_path / "table", ["run"], ROWS)
    assert rows_of(tmp_path / "table") == ROWS


def test_a_process_that_is_killed_leaves_the_table_as_it_was(tmp_path, monkeypatch):
    write_table(tmp_path / "table", ["run"], ROWS[:1])
    started_by(tmp_path, monkeypatch, "kill -9 $$")
    with pytest.raises(RunError, match="table: cannot be written: the process that should was killed"):
        write_table(tmp_path / "table", ["run"], ROWS)
    assert rows_of(tmp_path / "table") == ROWS[:1]


@pytest.mark.parametrize(
    "sent", [b'{"columns": ["run"], "rows": 2}\n{"run": "a"}', b'{"columns": ["run"], "rows": 1}\n{"ru']
)
def test_a_sweep_that_is_killed_while_it_sends_rows_leaves_the_table_as_it_was(tmp_path, sent):
    write_table(tmp_path / "table", ["run"], ROWS)
    command = [sys.executable, "-m", "nigt_jax.sweeps._table", str(tmp_path / "table")]
    done = subprocess.run(command, input=sent, capture_output=True, check=False)
    assert done.returncode
    assert rows_of(tmp_path / "table") == ROWS
    assert os.listdir(tmp_path) == ["table"]
