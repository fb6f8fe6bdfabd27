"""Recorded times, from CSV and from Parquet: the same times, and one useful line for every mistake."""

import csv
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.cli import main
from nigt_jax.clocks import make_clock
from nigt_jax.config import check_config, read_trace
from nigt_jax.errors import UserError

WRITER = """
import json, sys, pyarrow
from pyarrow import parquet
parquet.write_table(pyarrow.table(json.load(sys.stdin)), sys.argv[1])
"""
FORMATS = ["csv", "parquet"]
COLUMNS = {
    "machine": ["a", "b", "a", None, "a"],  # not read
    "worker": [1, 2, 1, 3, 1],
    "duration": [1.0, 2.5, 0.1, 7.0, 3.0],
}
TIMES = [[1.0, 0.1, 3.0], [2.5], [7.0]]


def write(path, columns):
    if path.suffix == ".parquet":
        # In another process, as it is read: pyarrow and XLA in one may crash.
        subprocess.run([sys.executable, "-c", WRITER, str(path)], input=json.dumps(columns), text=True, check=True)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return str(path)


def check(trace):
    return check_config({"workers": {"count": 3, "trace": trace}})


@pytest.mark.parametrize("format", FORMATS)
def test_times_of_each_worker_in_the_order_of_the_file(tmp_path, format):
    config = check(write(tmp_path / f"times.{format}", COLUMNS))
    assert read_trace(config.workers.trace, 3) == TIMES
    work = make_clock(config.workers, 1, 4).work
    amounts = np.asarray(work.amounts(jax.random.key(0), jnp.tile(jnp.arange(4), (3, 1))))
    np.testing.assert_allclose(amounts, [[1.0, 0.1, 3.0, 1.0], [2.5] * 4, [7.0] * 4])  # and once more when it ends


def test_a_simulation_does_not_depend_on_the_format(tmp_path, capsys):
    rng, found = np.random.default_rng(0), []
    columns = {"worker": rng.permutation(np.repeat([1, 2, 3], 9)).tolist(), "duration": rng.exponential(1, 27).tolist()}
    (tmp_path / "c.yaml").write_text("workers: {count: 3}\nmethod: {batch_size: 5}\n")
    for format in FORMATS:
        trace = ["--workers.trace", write(tmp_path / f"times.{format}", columns)]
        command = ["simulate", str(tmp_path / "c.yaml"), *trace, "--rounds", "9", "--output", str(tmp_path)]
        assert main([*command, "--name", format]) == 0
        found.append(json.loads((tmp_path / format / "simulation.json").read_text()))
    assert capsys.readouterr().err == ""
    assert found[0] == found[1]
    assert len({clock["time"] for clock in found[0]["clocks"].values()}) > 3  # recorded times are what they differ by


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"worker": [1, 2, 1, 4, 1]}, "row 4: got worker 4, allowed: 1 to 3"),
        ({"worker": [0, 2, 1, 3, 1]}, "row 1: got worker 0, allowed: 1 to 3"),
        ({"worker": [1.0, 2.0, 1.5, 3.0, 1.0]}, "row 3: got worker 1.5, allowed: 1 to 3"),
        ({"worker": [1, 2, 1, None, 1]}, "row 4: got "),
        ({"worker": [1, 2, 1, 2, 1]}, "has no row of worker 3, allowed: at least one for each of 3"),
        ({"duration": [1.0, 0.0, 1.0, 1.0, 1.0]}, "row 2: got duration 0.0, allowed: above 0 and finite"),
        ({"duration": [1.0, 1.0, 1.0, 1.0, float("inf")]}, "row 5: got duration inf, allowed: above 0 and finite"),
        ({"duration": [float("nan"), 1.0, 1.0, 1.0, 1.0]}, "row 1: got duration nan"),
        ({"duration": ["1", "2", "long", "1", "1"]}, "'long', allowed: two numbers"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, format, wrong, says):
    trace = write(tmp_path / f"times.{format}", COLUMNS | wrong)
    with pytest.raises(UserError) as caught:
        check(trace)
    assert str(caught.value).startswith(f"workers.trace: {trace}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_wrong_file_is_named(tmp_path, format):
    path = tmp_path / f"times.{format}"
    with pytest.raises(UserError, match=f"times.{format}: cannot be read: No such file"):
        check(str(path))
    write(path, {"worker": [1], "time": [1.0]})
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
    trace = write(tmp_path / "times.parquet", COLUMNS)
    assert main(["simulate", str(tmp_path / "c.yaml"), "--workers.trace", trace]) == 2
    says = f"nigt: workers.trace: {trace}: has no row of worker 4, allowed: at least one for each of 4\n"
    assert capsys.readouterr() == ("", says)


def test_a_spreadsheet_may_mark_its_file(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("worker,duration\n1,1\n2,2\n3,3\n", encoding="utf-8-sig")
    assert read_trace(str(path), 3) == [[1], [2], [3]]


def test_without_pyarrow(tmp_path, monkeypatch):
    trace = write(tmp_path / "times.parquet", COLUMNS)
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError('pyarrow')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"Parquet needs pyarrow, .* pip install 'nigt_jax\[parquet\]'"):
        check(trace)
    assert read_trace(check(write(tmp_path / "times.csv", COLUMNS)).workers.trace, 3) == TIMES
