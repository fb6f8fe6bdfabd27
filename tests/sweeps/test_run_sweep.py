"""Sweeps from start to end: the same numbers as one run after the other, whatever interrupts them."""

import json
import shutil
import threading

import numpy as np
import pyarrow.parquet
import pytest
from short_runs import same

from nigt_jax.cli import main
from nigt_jax.errors import UserError
from nigt_jax.records import read_metrics
from nigt_jax.runs import load_policy, train
from nigt_jax.sweeps import create_sweep, load_sweep, open_sweep, programs_of, run_sweep

SWEEP = """
base:
  environment: {name: "probes:EndsWhenGood", horizon: 4}
  policy: {hidden_sizes: [8]}
  estimator: {name: return_to_go}
  workers: {count: 3, noise: {family: exponential}}
  training: {chunk: 4, platform: cpu, budget: 40 gradients}
  evaluation: {every: 10 gradients, episodes: 4}
  checkpoint: {every: 10 gradients, keep: 2}
variants:
  rennala: {method.name: rennala_nigt, grid: {method.batch_size: [4, 7]}}
  afedpg: {method.name: afedpg}
grid:
  seed: [0, 1, 2]
"""


def created(tmp_path, text=SWEEP, name="sweep", least=1):
    (tmp_path / "s.yaml").write_text(text)
    sweep = load_sweep(tmp_path / "s.yaml")
    return create_sweep(tmp_path, name, "s", sweep, programs_of(sweep.runs, "cpu", least), join=False)


def records_of(folder):
    return {run.name: same(read_metrics(folder.run_folder(run).metrics)) for run in folder.sweep.runs}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nothing disturbed."""
    folder = created(tmp_path_factory.mktemp("whole"))
    result = run_sweep(folder, interrupted=threading.Event())
    assert (result.runs_done, result.failed, result.interrupted) == (9, {}, False)
    return folder


def test_runs_are_those_of_nigt_train(whole, tmp_path):
    assert [len(program) for program in whole.programs] == [6, 3]
    for run in (whole.sweep.runs[3], whole.sweep.runs[-1]):
        train(run.config, tmp_path / run.name)
        alone, together = read_metrics(tmp_path / run.name / "metrics.jsonl"), records_of(whole)[run.name]
        assert [row.keys() for row in same(alone)] == [row.keys() for row in together]
        for one, other in zip(alone, together, strict=True):
            for key in one.keys() - {"computed_steps", "wall_time"}:
                assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-5), key
        ours, theirs = load_policy(whole.run_folder(run).path), load_policy(tmp_path / run.name)
        assert ours.iteration == theirs.iteration == alone[-1]["iteration"]
        seen = np.linspace(-1, 1, 5)[:, None]
        np.testing.assert_allclose(ours.mode(seen), theirs.mode(seen), rtol=1e-3, atol=1e-4)


def test_the_table_has_a_row_for_every_evaluation(whole):
    table = pyarrow.parquet.read_table(whole.path / "results.parquet")
    assert table.column_names[:4] == ["variant", "run", "seed", "method.batch_size"]
    assert {str(table.schema.field(name).type) for name in ("seed", "iteration", "gradients")} == {"int64"}
    assert str(table.schema.field("return_mean").type) == "double"
    rows = table.to_pylist()
    wanted = [
        (run.name, record["iteration"], record["return_mean"], record["gradients"])
        for run in whole.sweep.runs
        for record in read_metrics(whole.run_folder(run).metrics)
        if "return_mean" in record
    ]
    assert [(row["run"], row["iteration"], row["return_mean"], row["gradients"]) for row in rows] == wanted
    assert {row["method.batch_size"] for row in rows if row["variant"] == "afedpg"} == {None}
    assert {row["failed"] for row in rows} == {None}
    first = {(row["variant"], row["seed"]): row["return_mean"] for row in rows if row["iteration"] == 0}
    assert all(first["rennala", seed] == pytest.approx(first["afedpg", seed], rel=1e-5) for seed in range(3))  # fair


def test_interrupted_and_resumed_is_the_same_sweep(whole, tmp_path):
    folder, stop = created(tmp_path), threading.Event()

    def interrupt(now):
        if now.program == 1 and now.fraction_done > 0.3:
            stop.set()

    assert run_sweep(folder, progress=interrupt, interrupted=stop).interrupted
    assert folder.done() == []
    assert main(["sweep", str(folder.path), "--resume"]) == 0
    assert records_of(folder) == records_of(whole)
    assert json.loads((folder.path / "programs" / "002" / "done.json").read_text()) == dict.fromkeys(folder.programs[1])


def test_killed_between_checkpoints(whole, tmp_path):
    """As after SIGKILL: records beyond the newest checkpoint, one of them torn, and a program that is not marked."""
    shutil.copytree(whole.path, tmp_path / "sweep")
    folder = open_sweep(tmp_path / "sweep")
    checkpoints = sorted((folder.program_folder(0) / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(checkpoints[-1])
    (folder.program_folder(0) / "done.json").unlink()
    torn = folder.run_folder(folder.sweep.runs[1]).metrics
    torn.write_text(torn.read_text()[:-30])
    before = folder.run_folder(folder.sweep.runs[-1]).metrics.stat().st_mtime_ns
    run_sweep(folder, interrupted=threading.Event())
    assert records_of(folder) == records_of(whole)
    assert folder.run_folder(folder.sweep.runs[-1]).metrics.stat().st_mtime_ns == before  # what is done stays


def test_a_run_that_breaks_does_not_end_the_others(tmp_path):
    text = SWEEP.replace("seed: [0, 1, 2]", "method.learning_rate: [0.1, 9.0e+37, 0.2]").replace("[4, 7]", "[4]")
    text = text.replace("  afedpg: {method.name: afedpg}\n", "")
    folder = created(tmp_path, text)
    result = run_sweep(folder, interrupted=threading.Event())
    assert result.runs_done == 3
    assert result.failed.keys() == {run.name for run in folder.sweep.runs if "9e+37" in run.name}
    assert all("not finite" in why for why in result.failed.values())
    for run in folder.sweep.runs:
        ended = read_metrics(folder.run_folder(run).metrics)[-1]["gradients"]
        assert (ended >= 40) == (run.name not in result.failed)


def test_shards_share_a_folder(whole, tmp_path):
    (tmp_path / "s.yaml").write_text(SWEEP)
    command = ["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path), "--name", "shared", "--shard"]
    assert main([*command, "2/3"]) == 0
    assert open_sweep(tmp_path / "shared").done() == [1]
    assert main([*command, "1/3"]) == main([*command, "3/3"]) == 0
    folder = open_sweep(tmp_path / "shared")
    assert len(folder.done()) == len(folder.programs) == 3
    assert pyarrow.parquet.read_table(folder.path / "results.parquet").num_rows == sum(
        "return_mean" in record for rows in records_of(whole).values() for record in rows
    )
    (tmp_path / "s.yaml").write_text(SWEEP.replace("[0, 1, 2]", "[0, 1]"))
    assert main([*command, "1/3"]) == 2


def test_a_run_of_a_sweep_is_not_resumed_alone(whole):
    run = whole.sweep.runs[0]
    with pytest.raises(UserError, match="is a run of a sweep and goes on with it: nigt sweep FOLDER --resume"):
        train(run.config, whole.run_folder(run).path, resume=True)


def test_every_run_keeps_its_recorded_times(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text("worker,duration\n1,1.0\n2,2.5\n3,0.5\n1,2.0\n")
    text = SWEEP.replace("noise: {family: exponential}", "trace: times.csv").replace("[4, 7]", "[4]")
    folder, stop = created(tmp_path, text.replace("  afedpg: {method.name: afedpg}\n", "")), threading.Event()
    run_sweep(folder, progress=lambda now: stop.set(), interrupted=stop)
    run = folder.sweep.runs[1]
    assert "trace: trace.csv" in folder.run_folder(run).config.read_text()
    (tmp_path / "times.csv").write_text("worker,duration\n1,1.0\n2,2.5\n3,0.6\n1,2.0\n")
    with pytest.raises(UserError, match="these are not the times that the run began with"):
        run_sweep(folder, interrupted=threading.Event())
