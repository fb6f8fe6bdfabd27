"""Counters go on counting where an int32, and then a float64, no longer could; and so does everybody who reads them."""

import json
import threading

import pyarrow.parquet
import pytest
from probes import EndsWhenGood
from short_runs import config, same

from nigt_jax.config import check_config, load_config, to_dict
from nigt_jax.records import last_record, read_metrics
from nigt_jax.report import write_report
from nigt_jax.runs import train
from nigt_jax.sweeps._table import write_table

COUNTERS = ("gradients", "env_steps", "computed_steps", "bytes_up")


def later(counters, by):
    return counters | {name: counters[name] + by for name in COUNTERS}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Runs that were stopped in the middle and went on, one of them as if it had counted so much before."""

    def made(by):
        folder, stop = tmp_path_factory.mktemp("run"), threading.Event()
        halfway = lambda progress: progress["iteration"] >= 4 and stop.set()
        train(config(), folder, environment=EndsWhenGood(), progress=halfway, interrupted=stop)
        count_later(folder, by)
        return folder

    return made


def count_later(folder, by):
    (newest,) = (folder / "checkpoints").iterdir()
    notes = newest / "notes" / "metadata"
    told = json.loads(notes.read_text())
    notes.write_text(json.dumps(told | {"totals": later(told["totals"], by)}))
    (newest / "sha256").unlink()
    *before, last = read_metrics(folder / "metrics.jsonl")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in (*before, later(last, by))))


@pytest.mark.parametrize("by", [pytest.param(2**31, marks=pytest.mark.slow), 2**53 + 1])
def test_a_run_counts_on(straight, stopped, tmp_path, by):
    folder = stopped(by)
    train(load_config(folder / "config.yaml"), folder, environment=EndsWhenGood(), resume=True)
    got, whole = (read_metrics(path / "metrics.jsonl") for path in (folder, straight[1]))
    assert same(got) == same([*whole[:4], *(later(record, by) for record in whole[4:])])
    assert last_record(folder / "metrics.jsonl") == got[-1]
    write_table(tmp_path / "table", ["iteration"], got)
    table = pyarrow.parquet.read_table(tmp_path / "table")
    assert {str(table.schema.field(name).type) for name in COUNTERS} == {"int64"}
    assert [{name: row[name] for name in record} for row, record in zip(table.to_pylist(), got, strict=True)] == got


@pytest.mark.slow
def test_a_report_shows_every_digit(stopped, tmp_path):
    folder = stopped(2**53 + 1)
    write_report([folder], tmp_path / "page.html")
    gradients = read_metrics(folder / "metrics.jsonl")[-1]["gradients"]
    assert f"{gradients:,}" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_run_ends_where_so_many_steps_are_made(stopped):
    folder = stopped(2**31)
    enough = read_metrics(folder / "metrics.jsonl")[-1]["env_steps"] + 40
    budget = {"training.budget": f"{enough} env_steps"}
    cfg = check_config(to_dict(load_config(folder / "config.yaml")), overrides=budget)
    train(cfg, folder, environment=EndsWhenGood(), resume=True)
    *_, before, last = read_metrics(folder / "metrics.jsonl")
    assert before["env_steps"] < enough <= last["env_steps"]
