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
from nigt_jax.sweeps import create_sweep, load_sweep, open_sweep, plan_of, run_sweep

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
    return create_sweep(tmp_path, name, "s", sweep, plan_of(sweep.runs, "cpu", least), join=False)


def records_of(folder):
    return {run.name: same(read_metrics(folder.run_folder(run).metrics)) for run in folder.runs}


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


@pytest.mark.slow  # tests/runtimes has the same of a program
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


@pytest.mark.slow
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


@pytest.mark.slow
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


TUNED = (
    SWEEP.replace("seed: [0, 1, 2]", "seed: [0, 1]").replace("[4, 7]", "[4]")
    + """
tune:
  seed: [7, 8]
  method.learning_rate: [0.02, 0.2]
"""
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A sweep with tuning that nothing disturbed."""
    folder = created(tmp_path_factory.mktemp("tuned"), TUNED)
    assert [len(program) for program in folder.programs] == [4, 4]
    assert run_sweep(folder, interrupted=threading.Event()).runs_done == 12
    return folder


def test_what_is_tuned_is_chosen_by_its_area_and_reported_on_other_seeds(tuned):
    folder, reopened = tuned, open_sweep(tuned.path)
    assert [run.name for run in reopened.runs] == [run.name for run in folder.runs]
    rows = pyarrow.parquet.read_table(folder.path / "results.parquet").to_pylist()
    for variant in ("rennala", "afedpg"):
        areas = {}
        for rate in (0.02, 0.2):
            for seed in (7, 8):
                own = [row for row in rows if row["variant"] == variant and row["tuning"] and row["seed"] == seed]
                own = [row for row in own if row["method.learning_rate"] == rate]
                areas.setdefault(rate, []).append([(row["simulated_time"], row["return_mean"]) for row in own])
        choice = reopened.choices()[variant if variant == "afedpg" else "rennala-batch_size=4"]
        mean = {}
        for rate, curves in areas.items():
            of_seeds = []
            for curve in curves:
                times = np.linspace(0, choice.end, 20_001)
                of_seeds.append(np.interp(times, *map(np.array, zip(*curve, strict=True))).mean())
            mean[rate] = np.mean(of_seeds)
        assert choice.values == {"method.learning_rate": max(mean, key=mean.get)}
        for tried in choice.tried:
            assert np.mean(tried["areas"]) == pytest.approx(mean[tried["values"]["method.learning_rate"]], rel=1e-3)
        reported = [row for row in rows if row["variant"] == variant and not row["tuning"]]
        assert {row["seed"] for row in reported} == {0, 1}
        assert {row["method.learning_rate"] for row in reported} == {max(mean, key=mean.get)}


@pytest.mark.slow
def test_a_sweep_with_tuning_goes_on_where_it_was_stopped(tuned, tmp_path):
    folder = created(tmp_path, TUNED, "stopped")
    for program in (1, 2, 3):
        stop = threading.Event()
        now_at = lambda now, stop=stop, program=program: now.program == program and stop.set()
        assert run_sweep(folder, progress=now_at, interrupted=stop).interrupted
        folder = open_sweep(folder.path)
        assert folder.tuned == (program == 3)
    assert main(["sweep", str(folder.path), "--resume"]) == 0
    assert records_of(open_sweep(folder.path)) == records_of(tuned)


@pytest.mark.slow
def test_shards_wait_for_each_others_tuning(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(TUNED)
    command = ["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path), "--name", "shared", "--shard"]
    assert main([*command, "1/2"]) == 0
    assert "waiting   the runs with what is tuned come once all shards have tuned" in capsys.readouterr().out
    assert not open_sweep(tmp_path / "shared").tuned
    assert main([*command, "2/2"]) == 0
    assert "waiting" not in capsys.readouterr().out
    assert main([*command, "1/2"]) == 0
    folder = open_sweep(tmp_path / "shared")
    assert len(folder.done()) == len(folder.programs) == 4


TWINS = """
base:
  environment: {name: "probes:EndsWhenGood", horizon: 4}
  policy: {hidden_sizes: [8]}
  estimator: {name: %s}
  workers: {count: 3}
  training: {chunk: 4, platform: cpu, budget: 40 gradients}
  evaluation: {every: 10 gradients, episodes: 4}
scenarios:
  equal: {workers.compute_time.worker_exponent: 0, workers.communication_time.worker_exponent: 0}
  uneven: {}
  dear:
    workers.communication_time: {scale: 2, worker_exponent: 0.5}
  random: {workers.noise.family: exponential, workers.carry_over: true}
  gathered: {workers.communication_time: {scale: 2}, workers.topology: shared-link}
variants:
  rennala: {method.name: rennala_nigt, method.batch_size: 5, method.initial_batch_size: 8}
  synchronous: {method.name: synchronous_nigt, method.batch_size: 3}
  malenia: {method.name: malenia_nigt, method.batch_size: 12}
  afedpg: {method.name: afedpg}
  ringmaster: {method.name: ringmaster_nigt, method.max_delay: 3}
  agnostic: {method.name: ringmaster_agnostic_nigt}
  ringleader: {method.name: ringleader_nigt}
"""


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["leave_one_out", "policy_gradient"])
def test_runs_that_differ_in_times_alone_are_those_that_nigt_train_makes(tmp_path, estimator):
    """Whatever is not computed but taken from another run is compared with that run, computed."""
    text = TWINS % estimator
    if estimator == "leave_one_out":  # which arrivals have not, and which compares the episodes of a block
        text = text[: text.index("  afedpg")].replace("initial_batch_size: 8", "initial_batch_size: 4")
    folder = created(tmp_path, text)
    twins = {}
    for name, other in folder.twins.items():
        twins.setdefault(name.split("-")[1], {})[name.split("-")[0]] = other.split("-")[0]
    everywhere = dict.fromkeys(("uneven", "dear", "random", "gathered"), "equal")
    assert twins["rennala"] == twins["synchronous"] == everywhere
    assert twins["malenia"]["dear"] == "uneven"
    assert twins["malenia"]["gathered"] == "uneven"
    if estimator == "policy_gradient":
        assert twins["afedpg"]["dear"] == "uneven"
        assert "random" not in twins["afedpg"]
    run_sweep(folder, interrupted=threading.Event())
    compared = [run for run in folder.runs if run.name in folder.twins]
    few = ("random-rennala", "dear-malenia")
    for run in compared if estimator == "policy_gradient" else [run for run in compared if run.name in few]:
        train(run.config, tmp_path / run.name)
        alone, ours = read_metrics(tmp_path / run.name / "metrics.jsonl"), read_metrics(folder.run_folder(run).metrics)
        assert [row.keys() for row in alone] == [row.keys() for row in ours]
        for one, other in zip(alone, ours, strict=True):
            assert other["simulated_time"] == one["simulated_time"]
            for key in one.keys() - {"computed_steps", "wall_time"}:
                assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-5), (run.name, key)
        assert load_policy(folder.run_folder(run).path).iteration == alone[-1]["iteration"]
    rows = pyarrow.parquet.read_table(folder.path / "results.parquet").to_pylist()
    assert {row["run"]: row["computed_as"] for row in rows if row["computed_as"]} == folder.twins


@pytest.mark.parametrize(
    "change",
    [
        "training.budget: 40 simulated_time",
        "method.learning_rate_half_life: 9 simulated_time",
        "evaluation.every: 9 simulated_time",
        "training.budget: 40 env_steps",
    ],
)
def test_where_times_decide_anything_else_every_run_is_computed(tmp_path, change):
    text = TWINS % "policy_gradient"
    assert not created(tmp_path, text[: text.index("  malenia")] + f"overrides: {{{change}}}\n").twins


@pytest.mark.slow
def test_a_round_that_never_ends_has_no_twin(tmp_path):
    text = TWINS % "policy_gradient"
    text = text[: text.index("variants")] + "variants: {s: {method.name: synchronous_nigt, method.batch_size: 3}}\n"
    text = text.replace("  random:", "  dead: {workers.speed.changes: [{workers: [1]}]}\n  random:")
    folder = created(tmp_path, text)
    assert {"dead-s", "equal-s"} <= {name for program in folder.programs for name in program}
