"""Recorded times, from CSV and from Parquet: the same times, and one useful line for every mistake."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.cli import main
from nigt_jax.clocks import clock_key, make_clock, play_round, rennala_rule, to_float64
from nigt_jax.config import WorkersConfig, check_config, read_trace
from nigt_jax.config._trace import brought_to_an_end
from nigt_jax.errors import UserError
from nigt_jax.records import RunFolder

WRITER = """
import json, sys, pyarrow
from pyarrow import parquet
for path, columns in json.load(sys.stdin).items():
    parquet.write_table(pyarrow.table(list(columns.values()), names=[name.strip() for name in columns]), path)
"""
FORMATS = ["csv", "parquet"]
COLUMNS = {
    "machine": ["a", "b", "a", None, "a"],  # not read
    "worker": [1, 2, 1, 3, 1],
    "duration": [1.0, 2.5, 0.1, 7.0, 3.0],
}
TIMES = [1.0, 0.1, 3.0, 2.5, 7.0], [3, 1, 1]  # of worker 1, 2, 3; and how many


def write(files):
    """Columns by file; names that differ in spaces at the end alone are the same."""
    parquet = {str(path): columns for path, columns in files.items() if path.suffix == ".parquet"}
    if parquet:
        # In another process, as it is read: pyarrow and XLA in one may crash.
        subprocess.run([sys.executable, "-c", WRITER], input=json.dumps(parquet), text=True, check=True)
    for path in files.keys() - set(map(Path, parquet)):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(files[path]), *zip(*files[path].values(), strict=True)])


def written(path, columns):
    write({path: columns})
    return str(path)


def read(path):
    durations, lengths, _ = read_trace(str(path), 3)
    return durations.tolist(), lengths.tolist()


def check(trace):
    return check_config({"workers": {"count": 3, "trace": trace}})


@pytest.mark.parametrize("format", FORMATS)
def test_times_of_each_worker_in_the_order_of_the_file(tmp_path, format):
    config = check(written(tmp_path / f"times.{format}", COLUMNS))
    assert read(config.workers.trace) == TIMES
    work = make_clock(config.workers, 1, 4).work
    amounts = np.asarray(work.amounts(jax.random.key(0), jnp.tile(jnp.arange(4), (3, 1))))
    np.testing.assert_allclose(amounts, [[1.0, 0.1, 3.0, 1.0], [2.5] * 4, [7.0] * 4])  # and once more when it ends


def test_a_simulation_does_not_depend_on_the_format(tmp_path, capsys):
    rng, found = np.random.default_rng(0), []
    columns = {"worker": rng.permutation(np.repeat([1, 2, 3], 9)).tolist(), "duration": rng.exponential(1, 27).tolist()}
    (tmp_path / "c.yaml").write_text("workers: {count: 3}\nmethod: {batch_size: 5}\n")
    for format in FORMATS:
        trace = ["--workers.trace", written(tmp_path / f"times.{format}", columns)]
        command = ["simulate", str(tmp_path / "c.yaml"), *trace, "--rounds", "9", "--output", str(tmp_path)]
        assert main([*command, "--name", format]) == 0
        found.append(json.loads((tmp_path / format / "simulation.json").read_text()))
    assert capsys.readouterr().err == ""
    assert found[0] == found[1]
    worker, duration = map(np.array, columns.values())
    assert found[0]["gradient_times"] == pytest.approx([duration[worker == i].mean() for i in (1, 2, 3)])
    assert len({clock["time"] for clock in found[0]["clocks"].values()}) > 3  # recorded times are what they differ by


WRONG = [  # what a CSV file answers, and a Parquet file where that is something else
    ({"worker": [1, 2, 1, 4, 1]}, "line 5: got worker 4, allowed: 1 to 3", "row 4: got worker 4"),
    ({"worker": [0, 2, 1, 3, 1]}, "line 2: got worker 0, allowed: 1 to 3", "row 1: got worker 0"),
    ({"worker": [1, 2, 2**53 + 1, 3, 1]}, "line 4: got worker 9007199254740992", "row 3: got worker 9007199254740993"),
    ({"worker": [1.0, 2.0, 1.5, 3.0, 1.0]}, "line 4: got worker 1.5, allowed: 1 to 3", "row 3: got worker 1.5"),
    ({"worker": [1, 2, 1, None, 1]}, "line 5: got worker '', duration '7.0', allowed", "row 4: has no worker, allowed"),
    ({"duration": [1.0, 2.0, None, 3.0, 1.0]}, "line 4: got worker '1', duration ''", "row 3: has no duration"),
    ({"worker": [1, 2, 1, 2, 1]}, *["has no row of worker 3, allowed: at least one for each of 3"] * 2),
    ({"duration": [1.0, 0.0, 1.0, 1.0, 1.0]}, "line 3: got duration 0, allowed: 1e-30", "row 2: got duration 0"),
    ({"duration": [1.0, 1.0, -2.5, 1.0, 1.0]}, "line 4: got duration -2.5, allowed", "row 3: got duration -2.5"),
    ({"duration": [1.0, 1.0, 1.0, 1e-40, 1.0]}, "line 5: got duration 1e-40, allowed", "row 4: got duration 1e-40"),
    ({"duration": [1.0, 1.0, 1.0, 1.0, float("inf")]}, "line 6: got duration inf, allowed", "row 5: got duration inf"),
    ({"duration": [float("nan"), 1.0, 1.0, 1.0, 1.0]}, "line 2: got duration nan, allowed", "row 1: got duration nan"),
    ({"duration": ["1", "2", "3", "4", "long"]}, "line 6: got worker '1', duration 'long', allowed: two numbers",
     "column duration is of type string, allowed: integers or floats"),
    ({"duration": [[1.0], [2.0], [1.0], [1.0], [1.0]]}, "line 2: got worker '1', duration '[1.0]', allowed: two",
     "column duration is of type list<"),
    ({"complete": [1, 1, 0, 2, 1]}, "line 5: got complete 2, allowed: 0 or 1", "row 4: got complete 2, allowed: 0 or"),
    ({"complete": [1, 1, 0, None, 1]}, "line 5: got worker '3', duration '7.0', complete '', allowed: numbers",
     "row 4: has no complete, allowed: a number"),
    ({"exchange": [0, 1, None, -1, 1]}, "line 5: got exchange -1, allowed: 0, 1e-30 to 1e+30, or nothing",
     "row 4: got exchange -1, allowed: 0, 1e-30"),
    ({"exchange": ["1", "2", "3", "4", "long"]}, "line 6: got worker '1', duration '3.0', exchange 'long', allowed:",
     "column exchange is of type string, allowed: integers or floats"),
    ({"duration": [True] * 5}, "line 2: got worker '1', duration 'True'", "column duration is of type bool"),
]  # fmt: skip


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory):
    """The folder of them, written all at once: pyarrow takes its time to start."""
    folder = tmp_path_factory.mktemp("wrong")
    write({folder / f"{k}.{format}": COLUMNS | wrong for k, (wrong, *_) in enumerate(WRONG) for format in FORMATS})
    return folder


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_row_is_named(wrong_files, format, number):
    trace = str(wrong_files / f"{number}.{format}")
    with pytest.raises(UserError) as caught:
        check(trace)
    says = dict(zip(FORMATS, WRONG[number][1:], strict=True))[format]
    assert str(caught.value).startswith(f"workers.trace: {trace}: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_wrong_file_is_named(tmp_path, format):
    path = tmp_path / f"times.{format}"
    with pytest.raises(UserError, match=f"times.{format}: cannot be read: No such file"):
        check(str(path))
    written(path, {"worker": [1], "time": [1.0]})
    with pytest.raises(UserError, match="got columns worker, time, allowed: worker and duration among them"):
        check(str(path))
    path.write_bytes(b"\xff\xfe\x00 neither of the two")
    with pytest.raises(UserError, match="cannot be read: ") as caught:
        check(str(path))
    assert "\n" not in str(caught.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        check(str(path))


def test_the_command_answers_in_one_line(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("workers: {count: 4}\n")
    trace = written(tmp_path / "times.parquet", COLUMNS)
    assert main(["simulate", str(tmp_path / "c.yaml"), "--workers.trace", trace]) == 2
    says = f"nigt: workers.trace: {trace}: has no row of worker 4, allowed: at least one for each of 4\n"
    assert capsys.readouterr() == ("", says)


def test_a_spreadsheet_may_mark_its_file(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("worker,duration\n1,1\n2,2\n3,3\n", encoding="utf-8-sig")
    assert read(path) == ([1, 2, 3], [1, 1, 1])


@pytest.mark.parametrize(
    "text",
    [
        "worker,duration\r\n1,1\r\n2,2.5\r\n3,7\r\n1,0.1\r\n1,3\r\n",
        'note,"duration","worker"\n"a, b",1,1\n"two\nlines",2.5,2\n,7,"3"\n"",1e-1,1\n\n-,3,1',
        "worker, duration \n1, 1\n2, 2.5\n3, 7.0\n1, .1\n1.0,  3 \n\n",
    ],
)
def test_ways_to_write_csv(tmp_path, text):
    path = tmp_path / "times.csv"
    path.write_text(text, newline="")
    assert read(path) == TIMES


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker,duration\n1,1\n2,0,98\n", "line 3: got 3 fields, allowed: 2, as in the header; decimals have a point"),
        ('x,worker,duration\n"a\nb",1,1\n,2\n', "line 4: got 2 fields, allowed: 3, as in the header"),
        ('worker,duration\n1,1\n2,"0,98"\n', "line 3: got worker '2', duration '0,98', allowed: two numbers; decimals"),
        ("worker,duration\n1,1_0\n", "line 2: got worker '1', duration '1_0', allowed: two numbers"),
        ('worker,duration\n1,"1\n2,1\n', "line 3: not CSV: unexpected end of data"),
        ('worker,duration\n1,"1"5\n', "line 2: not CSV: "),
        ("worker,duration,duration\n1,2,3\n", "got column 'duration' 2 times, allowed: once"),
        (
            "worker;duration\n1;0,98\n",
            "got columns worker;duration, allowed: worker and duration among them; fields",
        ),
        ("1,0.98\n2,1.51\n", "got columns 1, 0.98, allowed: worker and duration among them"),
        ("worker,duration\n", "has no rows, allowed: at least one for each of 3 workers"),
        ("\n\n", "is empty, allowed: a header and a row for every gradient"),
        ("", "is empty, allowed: a header and a row for every gradient"),
    ],
)
def test_csv_that_would_be_read_as_something_else(tmp_path, text, says):
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_trace(str(path), 3)
    assert str(caught.value).startswith(f"workers.trace: {path}: {says}")
    assert "\n" not in str(caught.value)


def test_parquet_that_would_be_read_as_something_else(tmp_path):
    twice, none = tmp_path / "twice.parquet", tmp_path / "none.parquet"
    write({twice: {"worker": [1], "duration": [2.0], "duration ": [3.0]}, none: {"worker": [], "duration": []}})
    with pytest.raises(UserError, match=r"twice.parquet: got column 'duration' 2 times, allowed: once"):
        read(twice)
    with pytest.raises(UserError, match=r"none.parquet: column worker is of type null, allowed: integers or floats"):
        read(none)


@pytest.mark.parametrize("format", FORMATS)
def test_exchanges_stand_instead_of_communication_time(tmp_path, format):
    trace = written(tmp_path / f"times.{format}", COLUMNS | {"exchange": [0.5, None, None, None, 1.0]})
    workers = WorkersConfig(count=3, trace=trace)
    np.testing.assert_allclose(make_clock(workers, 1, 4).exchange, [0.75] * 3)  # who has none has the mean of all
    nothing = written(tmp_path / f"none.{format}", COLUMNS | {"exchange": [None] * 5})
    assert read_trace(nothing, 3).exchanges is None
    other = WorkersConfig(count=3, trace=nothing, communication_time={"values": [3, 2, 1]})
    np.testing.assert_allclose(make_clock(other, 1, 4).exchange, [3, 2, 1])


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_broken_off_would_have_taken_longer(tmp_path, format):
    columns = {"worker": [1, 1, 2, 1, 1, 3, 2], "duration": [1.0, 2.0, 5.0, 4.0, 3.0, 7.0, 6.0]}
    trace = written(tmp_path / f"times.{format}", columns | {"complete": [1, 0, 1, 1, 1, 0, 0]})
    durations, _, exchanges = read_trace(trace, 3)
    assert exchanges is None
    first, second, third = durations[:4].tolist(), durations[4:6].tolist(), durations[6:].tolist()
    assert first[:1] + first[2:] == [1, 4, 3]
    assert first[1] in (3, 4)  # those that worker 1 was seen to take longer for
    assert second == [5, 6 + 11 / 1]  # longer than ever: by what worker 2 needs for a gradient on average
    assert third == [7 + 7]  # never seen to finish any


def test_times_broken_off_have_the_distribution_of_the_others():
    """Where chance breaks gradients off, the mean is that of the worker; without those, it is far too small."""
    rng = np.random.default_rng(0)
    true, limit = 1 + rng.gamma(0.5, 4, 20_000), rng.exponential(3, 20_000)
    complete = true <= limit
    times = brought_to_an_end(np.minimum(true, limit), complete)
    assert 0.4 < complete.mean() < 0.6
    assert times.mean() == pytest.approx(true.mean(), rel=0.04)
    for part in (0.25, 0.5, 0.75, 0.9):
        assert np.quantile(times, part) == pytest.approx(np.quantile(true, part), rel=0.04)
    assert true[complete].mean() < 0.7 * true.mean()
    np.testing.assert_array_equal(times[complete], true[complete])
    assert (times >= np.minimum(true, limit)).all()


def rounds_of(draw, batch, number):
    """Times and whether they came to an end, by worker, of rounds that end with the first so many gradients."""
    rows, ends = [], []
    for _ in range(number):
        times = draw()
        finish = times.cumsum(axis=1)
        end = np.sort(finish, axis=None)[batch - 1]
        ends.append(end)
        for worker, (each, done) in enumerate(zip(times, finish, strict=True)):
            k = int((done <= end).sum())
            rows += [(worker + 1, time, True, None) for time in each[:k]]
            rows.append((worker + 1, end - (done[k - 1] if k else 0.0), False, 0.25 if k else None))
    return rows, np.mean(ends)


def test_rounds_played_again_last_as_long(tmp_path):
    """Stragglers are broken off by every round. Without what is known of these, rounds are predicted too short."""
    rng = np.random.default_rng(0)
    least = np.asarray([[1.0], [2.0], [4.0], [8.0]])
    rows, seconds = rounds_of(lambda: least * (1 - rng.uniform(size=(4, 12))) ** (-1 / 1.2), 12, 300)
    whole = [row for row in rows if row[2]]
    predicted = {}
    for name, recorded in {"all": rows, "whole": whole}.items():
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.append_durations(recorded[:100])
        folder.append_durations(recorded[100:])
        clock = make_clock(WorkersConfig(count=4, trace=str(folder.durations)), 1, 12)
        clock = dataclasses.replace(clock, exchange=jnp.zeros(4))
        step = lambda state, _, clock=clock: (play_round(clock, rennala_rule(12, 4), state)[1], None)
        end, _ = jax.jit(lambda state, step=step: jax.lax.scan(step, state, length=300))(clock.begin(clock_key(0)))
        predicted[name] = float(to_float64(end.now)) / 300
    assert predicted["all"] == pytest.approx(seconds, rel=0.03)
    assert predicted["whole"] < 0.85 * seconds


def test_memory_is_that_of_the_rows(tmp_path):
    """One worker with a long recording among very many costs its own rows, not those of all the others."""
    workers, rows = 50_000, 10_000
    path, seen = tmp_path / "times.csv", [*range(1, workers + 1), *[7] * (rows - 1)]
    path.write_text("worker,duration\n" + "".join(f"{i},{k + 1}\n" for k, i in enumerate(seen)))
    work = make_clock(WorkersConfig(count=workers, trace=str(path)), 1, 4).work
    assert sum(x.nbytes for x in jax.tree.leaves(work)) <= 4 * (len(seen) + 2 * workers)
    number = jnp.full((workers, 1), rows + 1)  # the second of a recording of so many, begun again
    amounts = np.asarray(jax.jit(lambda n: work.amounts(jax.random.key(0), n))(number))[:, 0]
    np.testing.assert_array_equal(amounts, np.where(np.arange(workers) == 6, workers + 1, np.arange(workers) + 1))
    assert work.mean[6] == pytest.approx((7 + sum(range(workers + 1, workers + rows))) / rows)


def test_more_rows_than_can_be_numbered(tmp_path, monkeypatch):
    monkeypatch.setattr("nigt_jax.config._trace_files.MOST_ROWS", 4)
    with pytest.raises(UserError, match="got more than 4 rows, allowed: up to 4"):
        read_trace(written(tmp_path / "times.csv", COLUMNS), 3)
