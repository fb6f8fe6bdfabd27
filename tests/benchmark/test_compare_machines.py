"""`nigt bench --compare`: machines side by side, from whatever `nigt bench` has written."""

import json
import os
from pathlib import Path

import pytest

from nigt_jax.benchmark import read_measured, write_measured
from nigt_jax.cli import main
from nigt_jax.errors import RunError, UserError

MACHINE = {"device": "chip", "devices": 1, "cores": 2, "jax": "0.10", "brax": "0.14", "date": "2026-01-01"}
STAGES = ("physics", "+ policy", "+ queue", "+ storage", "+ gradient", "+ communication", "+ update")


def accelerator(path, **parts):
    path.write_text(json.dumps({"kind": "accelerator", "machine": MACHINE, "sizes": {}, "parts": parts}))
    return str(path)


def ordinary(path, rate):
    rows = [
        {"stage": stage, "useful_steps_per_second": rate / (1 + k), "useful_steps": 9, "computed_steps": 10}
        for k, stage in enumerate(STAGES)
    ]
    setting = {"environment": "hopper", "lanes_per_device": 64}
    programs = [{"stages": STAGES[:3], "seconds": 2.5}, {"stages": STAGES[3:], "seconds": 1.5}]
    path.write_text(json.dumps({"machine": MACHINE, "setting": setting, "programs": programs, "stages": rows}))
    return str(path)


def rows(out):
    table = out.split("\n\n")[1].splitlines()[1:]
    return {name.strip(): cells.split() for name, cells in (line.split("   ", 1) for line in table)}


def test_a_row_a_figure_a_column_a_machine(tmp_path, capsys):
    files = [
        accelerator(
            tmp_path / "a.json",
            hopper={"seconds": 1, "figures": {"physics, steps/s": 2000.0}},
            spmd={"seconds": 1, "figures": {"shard_map / pmap": 1.01, "the same": True}},
        ),
        ordinary(tmp_path / "b.json", 7000.0),
        accelerator(
            tmp_path / "c.json",
            hopper={"seconds": 1, "figures": {"physics, steps/s": 500.0}},
            spmd={"seconds": 1, "error": "RuntimeError: too little memory"},
        ),
    ]
    assert main(["bench", "--compare", *files]) == 0
    found = rows(capsys.readouterr().out)
    assert found["hopper: physics, steps/s"] == ["2,000", "7,000", "3.50", "500", "0.25"]
    assert found["hopper: + update, steps/s"] == ["-", "1,000", "-", "-", "-"]
    assert found["hopper: round / physics"] == ["-", "0.143", "-", "-", "-"]
    assert found["hopper: compiling, s"] == ["-", "4", "-", "-", "-"]
    assert found["spmd: shard_map / pmap"] == ["1.01", "-", "-", "-", "-"]


@pytest.mark.parametrize("text", ["", "[]", '{"machine": {}}', '{"kind": "accelerator", "machine": 3, "parts": {}}'])
def test_a_file_that_is_no_such_thing(text, tmp_path, capsys):
    good, bad = ordinary(tmp_path / "good.json", 1.0), tmp_path / "bad.json"
    bad.write_text(text)
    assert main(["bench", "--compare", good, str(bad)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "bad.json: another kind of file, allowed: what nigt bench --json writes" in err


def test_what_never_ends_or_is_too_large_is_not_read(tmp_path):
    """A pipe would be waited for; the null device, which is no file either, shows it without waiting."""
    with pytest.raises(UserError, match=f"--compare: {os.devnull}: cannot be read: is no regular file"):
        read_measured(Path(os.devnull))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo: cannot be read: is no regular file"):
        read_measured(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="huge: cannot be read: has 1,099,511,627,776 bytes or more"):
        read_measured(tmp_path / "huge")


def test_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"nowhere/a.json.new: cannot be written: No such file or directory"):
        write_measured(tmp_path / "nowhere" / "a.json", "{}")

    def full(*_):
        raise OSError(28, "No space left on device")  # as a write has it, without the file's name

    monkeypatch.setattr("nigt_jax.benchmark._figures.write_whole", full)
    with pytest.raises(RunError, match=r"a.json: cannot be written: No space left on device"):
        write_measured(tmp_path / "a.json", "{}")
