"""A run that would wait for ever: it stops, says for whom, and keeps what it had."""

import pytest
from probes import EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.errors import RunError
from nigt_jax.records import read_metrics
from nigt_jax.runs import train


def config(method, change, initial_batch_size=None):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": "return_to_go"},
            "method": {"name": method, "batch_size": 4, "initial_batch_size": initial_batch_size},
            "workers": {
                "count": 4,
                "compute_time": {"values": [1, 1, 2, 2]},
                "communication_time": {"scale": 0},
                "speed": {"changes": [change]},
            },
            "training": {"iterations": 12, "chunk": 4, "devices": 2},
            "evaluation": {"every": 12, "episodes": 4},
            "checkpoint": {"every": 4},
        }
    )


def stops(cfg, folder, safe="the last checkpoint is of iteration 4", **options):
    """What it says before it tells what is safe."""
    with pytest.raises(RunError) as caught:
        train(cfg, folder, environment=EndsWhenGood(), **options)
    said, ended = str(caught.value).split("; ")
    assert ended == safe
    return said


@pytest.mark.parametrize("method", [pytest.param("synchronous_nigt", marks=pytest.mark.slow), "malenia_nigt"])
def test_a_round_that_never_ends(tmp_path, method):
    """Rounds take 2; at 13, in the middle of the second chunk, worker 3 is gone for good."""
    cfg = config(method, {"workers": [3], "start": 13})
    said = stops(cfg, tmp_path)
    assert said == "round 7 never ends: it waits for worker 3"
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["simulated_time"] for r in records] == [0, 2, 4, 6, 8, 10, 12]
    assert stops(cfg, tmp_path, resume=True) == said
    assert [r["iteration"] for r in read_metrics(tmp_path / "metrics.jsonl")] == list(range(7))


@pytest.mark.slow
def test_who_has_done_its_share_is_not_waited_for(tmp_path):
    """The first round takes 6. At 7.5, in the second, workers 1 and 2 have done what a barrier asks of them."""
    cfg = config("synchronous_nigt", {"start": 7.5}, initial_batch_size=12)
    assert stops(cfg, tmp_path, "there is no checkpoint yet") == "round 2 never ends: it waits for workers 3, 4"


@pytest.mark.slow
def test_nobody_answers_any_more(tmp_path):
    """Rennala waits for nobody in particular, but for somebody. In round 5 workers 1 and 2 have done one each."""
    said = stops(config("rennala_nigt", {"start": 9}), tmp_path)
    assert said == "round 5 never ends: it waits for workers 3, 4, 1 and 1 more"


@pytest.mark.slow
def test_an_update_that_waits_for_one_worker(tmp_path):
    """Others go on delivering. Worker 3 has made its update at 4, has nothing in the next table, and is gone at 5."""
    said = stops(config("ringleader_nigt", {"workers": [3], "start": 5}), tmp_path)
    assert said == "update 5 never comes: it waits for worker 3"
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["simulated_time"] for r in records] == [0, 2, 3, 3, 4]
    assert [r["gradients"] for r in records] == [0, 6, 7, 8, 11]


@pytest.mark.slow
def test_an_update_that_never_comes(tmp_path):
    said = stops(config("afedpg", {"start": 2.5}), tmp_path)
    assert said == "update 7 never comes: it waits for workers 1, 2, 3 and 1 more"
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["simulated_time"] for r in records] == [0, 1, 1, 2, 2, 2, 2]
