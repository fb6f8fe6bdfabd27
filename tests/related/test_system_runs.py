"""Runs of related systems: records, clocks, resuming to the same numbers, and mistakes in one line."""

import json
import threading

import jax
import pytest

from nigt_jax.cli import main
from nigt_jax.config import check_system, describe, dump_config, load_system, system_of
from nigt_jax.config.systems import SYSTEMS
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import open_system_run, read_metrics
from nigt_jax.related import train

SMALL = {
    "system": "fednpg",
    "world": {"side": 2},
    "workers": {"count": 3, "compute_time": {"values": [1.0, 2.0, 4.5]}, "communication_time": {"scale": 0.5}},
    "training": {"iterations": 12, "chunk": 5},
    "evaluation": {"every": 3},
    "checkpoint": {"every": 4},
}


def small(**sections):
    return check_system(SMALL | {key: SMALL.get(key, {}) | value for key, value in sections.items()})


def without_wall_time(records):
    return [{key: value for key, value in record.items() if key != "wall_time"} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    precisions = set()
    summary = train(small(), folder, progress=lambda told: precisions.add(jax.config.jax_enable_x64))
    assert precisions == {False}  # the system computes in 64 bits, and a function of the user's own as it always does
    return folder, summary


def test_records_tell_what_was_used(whole):
    folder, summary = whole
    records = read_metrics(folder / "metrics.jsonl")
    assert [record["iteration"] for record in records] == list(range(13))
    assert [record["iteration"] for record in records if "gap" in record] == [0, 3, 6, 9, 12]
    # The slowest agent takes 4.5, and the exchange 0.5.
    assert [record["simulated_time"] for record in records] == [5.0 * k for k in range(13)]
    assert records[12]["gradients"] == 36
    assert records[12]["communications"] == 12 * 3 * 2  # agents, exchanges
    assert records[12]["bytes_sent"] == 12 * 3 * 2 * (4 * 2) * 8  # states, actions, bytes
    assert (summary.iteration, summary.interrupted, summary.simulated_time) == (12, False, 60.0)
    assert summary.first_evaluation == records[0]
    assert summary.last_evaluation == records[12]
    assert all(line for _, line in summary.results)


def test_an_interrupted_run_goes_on_to_the_same_numbers(whole, tmp_path):
    interrupted = threading.Event()
    told = lambda progress: interrupted.set() if progress["iteration"] >= 5 else None
    first = train(small(), tmp_path / "run", progress=told, interrupted=interrupted)
    assert (first.interrupted, first.iteration) == (True, 5)
    assert (first.last_evaluation["iteration"], len(first.results)) == (3, 3)  # of the last evaluation, not of round 5
    folder, config = open_system_run(tmp_path / "run")
    second = train(config, folder.path, resume=True)
    assert (second.iteration, second.interrupted) == (12, False)
    expected = without_wall_time(read_metrics(whole[0] / "metrics.jsonl"))
    assert without_wall_time(read_metrics(folder.metrics)) == expected


def test_a_longer_run_begins_as_a_shorter_one_and_other_settings_stay(whole, tmp_path):
    short = small(training={"iterations": 4}, evaluation={"every": 2})
    train(short, tmp_path / "run")
    folder, config = open_system_run(tmp_path / "run", {"training.iterations": 12, "evaluation.every": 3})
    train(config, folder.path, resume=True)
    strip = lambda records: [record["simulated_time"] for record in records]
    assert strip(read_metrics(folder.metrics)) == strip(read_metrics(whole[0] / "metrics.jsonl"))
    assert read_metrics(folder.metrics)[12]["gap"] == read_metrics(whole[0] / "metrics.jsonl")[12]["gap"]
    _, other = open_system_run(tmp_path / "run", {"method.learning_rate": 0.2})
    with pytest.raises(UserError, match=r"method.learning_rate is 0.2, but the run was made with 0.1; of a run"):
        train(other, folder.path, resume=True)
    with pytest.raises(UserError, match="holds a run already"):
        train(short, folder.path)


def test_an_agent_that_never_answers_ends_the_run_with_what_is_computed(tmp_path):
    gone = {"changes": [{"workers": [2], "start": 11.0, "factor": 0.0}]}
    with pytest.raises(RunError, match="iteration 3 never ends: an agent never answers again; "):
        train(small(workers={"speed": gone}), tmp_path / "run")
    assert [record["iteration"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2]


def test_configurations_are_read_as_they_are_written(tmp_path):
    for name, kind in SYSTEMS.items():
        config = kind()
        file = tmp_path / f"{name}.yaml"
        file.write_text(dump_config(config))
        assert file.read_text().startswith(f"system: {name}\n")
        assert system_of(file) is kind
        assert load_system(file) == config
        assert all(setting.meaning for setting in describe(kind))


def test_a_section_that_is_given_in_part_keeps_the_systems_own_defaults():
    config = check_system({"system": "fednpg", "training": {"chunk": 3}, "workers": {"count": 4}})
    assert config.training.iterations == SYSTEMS["fednpg"]().training.iterations
    assert config.workers.compute_time.worker_exponent == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"system": "fednqg"}, "system: got 'fednqg' (did you mean fednpg?), allowed: "),
        ({"system": ["fednpg"]}, "system: got ['fednpg'] (did you mean fednpg?), allowed: "),
        ({"system": "fednpg", "world": {"sides": 3}}, "unknown key world.sides; did you mean world.side?"),
        ({"system": "fednpg", "environment": {}}, "unknown key environment; "),
        ({"system": "fednpg", "world": 3}, "world: got 3, allowed: a mapping"),
        ({"system": "fednpg", "graph": {"kind": "star"}}, "graph.kind: got 'star', allowed: 'ring', 'directed_ring'"),
        ({"system": "fednpg", "method": {"entropy": 0.5}}, "method.learning_rate: got 0.1 with method.entropy 0.5"),
        (
            {"system": "fednpg", "workers": {"environments": [{"workers": [1], "gravity": 2.0}]}},
            "workers.environments: ",
        ),
        ({}, "has no key system, allowed: "),
    ],
)
def test_mistakes_take_one_line(given, message):
    with pytest.raises(UserError) as error:
        check_system(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command(tmp_path, capsys):
    file = tmp_path / "small.yaml"
    file.write_text(json.dumps(SMALL))  # which is YAML, too
    run = str(tmp_path / "runs" / "one")
    options = ["--output", str(tmp_path / "runs"), "--name", "one"]
    assert main(["train", str(file), *options, "--training.iterations", "3"]) == 0
    out = capsys.readouterr().out
    assert "iteration 3/3  simulated time 15.0  gap " in out
    assert "counted   9 gradients, 0 steps" in out
    assert main(["train", run, "--resume", "--training.iterations", "5"]) == 0
    assert "iteration 5/5" in capsys.readouterr().out
    assert main(["train", str(file), "--dry-run", "--world.side", "3"]) == 0
    assert "system: fednpg" in capsys.readouterr().out
    assert main(["train", str(file), "--help-settings", "graph"]) == 0
    assert "--graph.neighbours" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["report", run, "--output", str(page)]) == 0
    assert "fednpg with 3 agents, 5 iterations" in page.read_text()
    assert "| communications | 30 |" in (tmp_path / "page" / "tables.md").read_text()
    for arguments, message in (
        (["train", str(file), "--world.sidd", "3"], "unknown option --world.sidd; did you mean --world.side?"),
        (["train", str(file), "--graph.kind", "line", "--graph.weights", "even", *options], "exists already"),
        (["train", run, "--resume", "--name", "x"], "--name: not with --resume"),
        (["simulate", str(file)], "is of the related system fednpg"),
        (["evaluate", run], "is a run of the related system fednpg, allowed here: one of training"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
