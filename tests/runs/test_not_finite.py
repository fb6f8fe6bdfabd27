"""Numbers that are not finite: a run records what breaks, and where it cannot go on, its last good checkpoint can."""

import math
import re

import pytest
from probes import Faulty
from short_runs import config

from nigt_jax.config import check_system
from nigt_jax.errors import RunError, RunWarning
from nigt_jax.records import open_system_run, read_metrics
from nigt_jax.related import train as train_system
from nigt_jax.runs import train


def of_steps(iterations, learning_rate):
    """Query points lie ahead of the iterate by several steps, so it takes one of 9e37 for them to be no numbers."""
    method = {"batch_size": 50, "learning_rate": learning_rate}
    return config("return_to_go", iterations, method=method, environment={"name": "fast", "horizon": 6})


def test_the_last_good_checkpoint_outlives_a_step_that_is_too_long(tmp_path):
    """The step is the last one of all, so no later gradient could tell."""
    environment = Faulty("observation", 0.01)
    go_on = lambda *settings: train(of_steps(*settings), tmp_path, resume=True, environment=environment)
    with pytest.warns(RunWarning, match=r"the physics of probes:Faulty broke .* in \d+ of the newest 200 episodes"):
        train(of_steps(4, 1e-3), tmp_path, environment=environment)
    with pytest.raises(RunError) as error:
        go_on(5, 9e37)
    assert str(error.value) == (
        "the parameters, or what later updates are made of, are not finite after iteration 5 (method.learning_rate "
        "9e+37); the last checkpoint is of iteration 4"
    )
    assert go_on(5, 1e-3).iteration == 5
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["iteration"] for record in records] == list(range(6))
    assert all(math.isfinite(value) for record in records for value in record.values())
    assert [record["diverged_fraction"] for record in records[1:]] == [r["diverged"] / 50 for r in records[1:]]
    assert 2 < sum(record["diverged"] for record in records[1:]) < 60


def test_a_system_whose_step_is_too_long_stops_where_it_can_go_on(tmp_path):
    """And stops there again when it does: its numbers are the same."""
    own = {
        "system": "async_evaluation",
        "method": {"step_per_node": 1e3},
        "training": {"iterations": 400, "chunk": 20},
        "evaluation": {"every": 400},
        "checkpoint": {"every": 20},
    }
    with pytest.raises(RunError) as error:
        train_system(check_system(own), tmp_path / "run")
    told = re.fullmatch(
        r"the \w+ (?:of|after) iteration (\d+) is not finite, most likely for too large a step; the last checkpoint is "
        r"of iteration (\d+)",
        str(error.value),
    )
    wrong, kept = map(int, told.groups())
    assert 0 < kept < wrong <= kept + 20
    folder, again = open_system_run(tmp_path / "run")
    with pytest.raises(RunError, match=f"^{re.escape(str(error.value))}$"):
        train_system(again, folder.path, resume=True)
    records = read_metrics(folder.metrics)
    assert [record["iteration"] for record in records] == list(range(wrong))
    assert all(math.isfinite(value) for record in records for value in record.values())
