"""Recorded times, from CSV and from Parquet: the same times, and one useful line for every mistake."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.cli import main
from nigt_jax.clocks import make_clock
from nigt_jax.config import WorkersConfig, check_config, read_trace
from nigt_jax.errors import UserError

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
    durations, lengths = read_trace(str(path), 3)
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
    monkeypatch.setattr("nigt_jax.config._trace.MOST_ROWS", 4)
    with pytest.raises(UserError, match="got 5 rows, allowed: up to 4"):
        read_trace(written(tmp_path / "times.csv", COLUMNS), 3)
