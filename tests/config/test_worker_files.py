"""Workers as people have them, in files: what becomes of them, and one useful line for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest

from nigt_jax.cli import main
from nigt_jax.clocks import make_clock
from nigt_jax.config import check_config, load_config, settings_from
from nigt_jax.errors import UserError
from nigt_jax.sweeps import load_sweep

WRITER = """
import json, sys, pyarrow
from pyarrow import parquet
parquet.write_table(pyarrow.table(json.load(sys.stdin)), sys.argv[1])
"""


def written(path, *rows):
    """A file of rows, the first of which has the names."""
    if path.suffix == ".parquet":
        names, *values = rows
        columns = {name: [row[k] for row in values] for k, name in enumerate(names)}
        subprocess.run([sys.executable, "-c", WRITER, path], input=json.dumps(columns), text=True, check=True)
    else:
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return str(path)


def workers(**files):
    return check_config({"workers": files}).workers


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_times_become_those_of_so_many_workers(tmp_path, suffix):
    path = written(tmp_path / f"w.{suffix}", ("time", "communication_time"), (2.0, 0.5), (3.0, 0.0), (7.5, 1.0))
    found = workers(file=path)
    assert (found.count, found.file) == (3, None)
    clock = make_clock(found, 1000, 4)
    np.testing.assert_allclose(clock.work.mean, [2, 3, 7.5])
    np.testing.assert_allclose(clock.exchange, [0.5, 0, 1])


def test_speeds_and_links_have_units(tmp_path):
    """Time is then in seconds: 10 a minute is one in six; 32 bits of 5000 parameters take 1.6 ms at 100 Mbit/s."""
    rows = [("worker", "speed", "unit", "link_speed"), ("a", 10, "1/min", 100), ("b", 4, "1/s", 1), ("c", 9, "1/h", 10)]
    clock = make_clock(workers(file=written(tmp_path / "w.csv", *rows)), 5000, 4)
    np.testing.assert_allclose(clock.work.mean, [6, 0.25, 400], rtol=1e-6)
    np.testing.assert_allclose(clock.exchange, [0.0016, 0.16, 0.016], rtol=1e-6)
    rows = [("time", "unit", "communication_time"), (2, "min", 0.5), (300, "ms", 20)]
    clock = make_clock(workers(file=written(tmp_path / "w.csv", *rows)), 5000, 4)
    np.testing.assert_allclose(clock.work.mean, [120, 0.3], rtol=1e-6)
    np.testing.assert_allclose(clock.exchange, [30, 0.02], rtol=1e-6)


def there(found, worker, times):
    """Whether a worker of some settings is there, by the settings alone."""
    speed = found.speed
    at = [time % speed.period if speed.period else time for time in times]
    gone = [(c.start, np.inf if c.end is None else c.end) for c in speed.changes if worker in c.workers]
    assert all(c.factor == 0 for c in speed.changes)
    return [not any(start <= time < end for start, end in gone) for time in at]


def test_windows_of_the_day(tmp_path):
    """Over midnight too; a worker that the file does not name is always there."""
    file = written(tmp_path / "w.csv", ("worker", "time"), ("a", 60), ("b", 60), ("c", 60))
    rows = [("worker", "start", "end"), ("b", "22:00", "06:00"), ("c", "9:00", "12:30"), ("c", "12:00", "17:00:30")]
    found = workers(file=file, availability=written(tmp_path / "a.csv", *rows))
    assert (found.speed.period, found.availability) == (86400.0, None)
    hours = [0, 5.99, 6.01, 21.99, 22.01, 23.99, 24 + 5.99, 24 + 6.01]
    assert there(found, 2, [3600 * h for h in hours]) == [True, True, False, False, True, True, True, False]
    hours = [8.99, 9, 12.4, 12.8, 17, 17.1]
    assert there(found, 3, [3600 * h for h in hours]) == [False, True, True, True, True, False]
    assert all(there(found, 1, [3600 * h for h in range(48)]))
    # And the clock has it so: of 8 hours a day, worker b does 480 gradients of a minute.
    clock = make_clock(found, 1, 4)
    assert float((clock.speed.value[1] * np.diff([*clock.speed.begin[1], 86400])).sum()) == pytest.approx(8 * 3600)


def test_windows_in_time_units(tmp_path):
    rows = [("worker", "start", "end"), (2, 5, 10), (2, 12, 20), (1, 0, 7.5)]
    found = workers(count=3, availability=written(tmp_path / "a.csv", *rows))
    assert found.speed.period is None
    assert there(found, 2, [0, 5, 9.9, 10, 12, 19, 20, 1e6]) == [False, True, True, False, True, True, False, False]
    assert there(found, 1, [0, 7.4, 7.5, 1e6]) == [True, True, False, False]


def test_paths_are_those_of_the_file_that_names_them(tmp_path, monkeypatch):
    home, there, here = (tmp_path / name for name in ("home", "there", "here"))
    for folder in (home, there, here):
        folder.mkdir()
        written(folder / "w.csv", ("time",), *[(1.0,)] * len(folder.name))
        written(folder / "t.csv", ("worker", "duration"), *[(k + 1, 1.0) for k in range(len(folder.name))])
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    (there / "c.yaml").write_text("workers: {file: w.csv}\n")
    (there / "t.yaml").write_text("workers: {trace: t.csv}\n")
    (there / "h.yaml").write_text("workers: {file: ~/w.csv}\n")
    (here / "based.yaml").write_text("base: ../there/c.yaml\nseed: 3\n")
    assert load_config(there / "c.yaml").workers.count == 5
    assert load_config(there / "t.yaml").workers.count == 5
    assert load_config(there / "h.yaml").workers.count == 4
    assert load_config(here / "based.yaml").workers.count == 5
    written(here / "w.csv", ("time",), (1.0,), (2.0,))
    assert load_config(there / "c.yaml", {"workers.file": "w.csv"}).workers.count == 2
    (there / "s.yaml").write_text(
        "base: c.yaml\noverrides: {workers.file: w.csv}\nvariants: {a: {workers.trace: t.csv}, b: {}}\n"
    )
    first, second = (run.config.workers for run in load_sweep(there / "s.yaml").runs)
    assert first.trace == str(there / "t.csv")
    assert (first.count, second.count, second.trace) == (5, 5, None)


def test_a_file_stands_instead_of_what_a_base_says(tmp_path):
    (tmp_path / "c.yaml").write_text("workers: {count: 10, compute_time: {speeds: [1,1,1,1,1,1,1,1,1,1]}}\n")
    path = written(tmp_path / "w.csv", ("time",), (1.0,), (4.0,))
    found = load_config(tmp_path / "c.yaml", {"workers.file": path}).workers
    assert (found.count, found.compute_time.values, found.compute_time.speeds) == (2, (1.0, 4.0), None)
    with pytest.raises(UserError, match=r"^workers.count: got it beside workers.file, which says it; allowed: one of"):
        load_config(tmp_path / "c.yaml", {"workers.file": path, "workers.count": 2})


WRONG = [
    ("w.csv: got columns a, b, allowed: one of time and speed among them", [("a", "b"), (1, 2)]),
    ("w.csv: got columns time, speed, allowed: one of time and speed", [("time", "speed"), (1, 2)]),
    ("w.csv: line 3: got time '-1', allowed: a number above 0", [("time",), (1,), (-1,)]),
    ("w.csv: line 2: got time 'inf', allowed: a number above 0", [("time",), ("inf",)]),
    ("w.csv: line 2: got time '1;5', allowed: a number above 0", [("time",), ("1;5",)]),
    ("w.csv: line 2: got unit 'days', allowed: s, ms, min, h", [("time", "unit"), (1, "days")]),
    ("w.csv: line 2: got unit 's', allowed: 1/s, 1/ms, 1/min, 1/h", [("speed", "unit"), (1, "s")]),
    ("w.csv: line 3: got worker 'a', allowed: each worker once", [("worker", "time"), ("a", 1), ("a", 2)]),
    ("w.csv: link_speed is in Mbit/s, but times have no unit", [("time", "link_speed"), (1, 2)]),
    ("w.csv: line 2: got time '1e29', allowed: what makes a time of 1e-30 to 1e+30, not 3.6e+32",
     [("time", "unit"), ("1e29", "h")]),
    ("w.csv: line 2: got 1 fields, allowed: 2, as in the header", [("time", "x"), (1,)]),
    ("w.csv: got column 'time' 2 times, allowed: once", [("time", "time"), (1, 2)]),
    ("w.csv: has no rows, allowed: a header and at least one", [("time",)]),
]  # fmt: skip
WRONG_WINDOWS = [
    ("a.csv: got columns worker, start, allowed: end among them", [("worker", "start"), (1, 2)]),
    ("a.csv: line 2: got worker 'x', allowed: a number from 1 on", [("worker", "start", "end"), ("x", 1, 2)]),
    ("a.csv: line 2: got start 5, end 2, allowed: an end after the start", [("worker", "start", "end"), (1, 5, 2)]),
    ("a.csv: line 2: got start 9:00, end 9:00, allowed: an", [("worker", "start", "end"), (1, "9:00", "9:00")]),
    ("a.csv: line 2: got end '24:30', allowed: a number, 0 or more", [("worker", "start", "end"), (1, 0, "24:30")]),
]  # fmt: skip


@pytest.mark.parametrize(("says", "rows"), WRONG)
def test_a_mistake_is_named(tmp_path, says, rows):
    path = written(tmp_path / "w.csv", *rows)
    with pytest.raises(UserError) as caught:
        workers(file=path)
    assert str(caught.value).startswith(f"workers.file: {tmp_path}/{says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("says", "rows"), WRONG_WINDOWS)
def test_a_mistake_of_windows_is_named(tmp_path, says, rows):
    path = written(tmp_path / "a.csv", *rows)
    with pytest.raises(UserError) as caught:
        workers(count=2, availability=path)
    assert str(caught.value).startswith(f"workers.availability: {tmp_path}/{says}")


def test_names_of_windows_are_those_of_workers(tmp_path):
    file = written(tmp_path / "w.csv", ("worker", "time"), ("a", 60))
    path = written(tmp_path / "a.csv", ("worker", "start", "end"), ("b", "1:00", "2:00"))
    with pytest.raises(UserError, match=r"line 2: got worker 'b', allowed: a worker of workers.file"):
        workers(file=file, availability=path)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(UserError, match=rf"workers.file: {tmp_path}/{name}: cannot be read: No such file"):
        workers(file=str(tmp_path / name))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_a_file_is_shows_in_its_names(tmp_path, suffix):
    """Workers, or what one has recorded, of which only the names are read to tell."""
    assert settings_from(written(tmp_path / f"w.{suffix}", ("worker", "time"), ("a", 1.0)))["workers"].keys() == {
        "file"
    }
    recorded = written(tmp_path / f"t.{suffix}", ("worker", "duration"), (1, 1.0))
    assert settings_from(recorded) == {"workers": {"trace": recorded}}
    with pytest.raises(UserError, match=r"cannot be read: No such file"):
        settings_from(str(tmp_path / f"none.{suffix}"))


def test_one_command_answers_for_a_file(tmp_path, monkeypatch, capsys):
    """Which method, which M: of workers with speeds, and of recorded times."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "w.csv", ("speed", "unit", "link_speed"), (10, "1/min", 50), (2, "1/min", 50), (1, "1/h", 50))
    written(tmp_path / "t.csv", ("worker", "duration", "exchange"), (1, 1.0, 0.1), (2, 2.0, 0.1), (3, 60.0, ""))
    assert main(["simulate", "w.csv", "--rounds", "5"]) == 2
    assert "nigt: --parameters: not given" in capsys.readouterr().err
    for name, more in (("w.csv", ["--parameters", "1000"]), ("t.csv", [])):
        assert main(["simulate", name, "--rounds", "5", *more]) == 0
        text = capsys.readouterr().out
        assert "worker 3" in text
        assert "take       --method.name rennala_nigt" in text


def test_exchanges_that_nobody_speaks_of_take_no_time(tmp_path):
    """The default of sqrt(i) belongs to the default times; what a configuration says stays, and a file comes first."""
    silent = written(tmp_path / "silent.csv", ("time",), (2.0,), (3.0,))
    recorded = written(tmp_path / "recorded.csv", ("worker", "duration"), (1, 2.0), (2, 3.0))
    for given in ({"file": silent}, {"trace": recorded}):
        assert workers(**given).communication_time.scale == 0
        assert workers(**given, communication_time={"scale": 2.0}).communication_time.scale == 2
    assert check_config({}, overrides={"workers.file": silent, "workers.communication_time.scale": 0.5})
    spoken = written(tmp_path / "spoken.csv", ("time", "communication_time"), (2.0, 0.5), (3.0, 0.0))
    assert workers(file=spoken, communication_time={"scale": 2.0}).communication_time.values == (0.5, 0.0)
