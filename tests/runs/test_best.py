"""The policy of the highest evaluation is kept beside the newest ones, where that is asked for."""

import threading

import numpy as np
import pytest
from probes import EndsWhenGood
from short_runs import config

import nigt_jax
from nigt_jax.runs import train
from nigt_jax.runtimes import SimulatedRuntime

OBSERVATIONS = np.linspace(-2, 2, 9)[:, None]
OFTEN = {"evaluation": {"every": 1, "episodes": 3}, "checkpoint": {"keep_best": True, "every": 5, "keep": 20}}


@pytest.fixture
def returns(monkeypatch):
    """Evaluations say what a test puts here, one after the other."""
    found, evaluate = [], SimulatedRuntime.evaluate
    told = lambda self, *arguments: [record | {"return_mean": found.pop(0)} for record in evaluate(self, *arguments)]
    monkeypatch.setattr(SimulatedRuntime, "evaluate", told)
    return found


def test_the_best_is_that_of_the_highest_evaluation(tmp_path, returns):
    """Evaluated at 0, 1, 2, ...; at 5, where it is highest, there is a checkpoint to compare with."""
    returns.extend([1.0, 0.0, 2.0, 2.0, 4.0, 9.0, *[3.0] * 7])
    train(config(**OFTEN), tmp_path, environment=EndsWhenGood())
    best, theirs = nigt_jax.load_policy(tmp_path / "best"), nigt_jax.load_policy(tmp_path, iteration=5)
    assert best.iteration == 5
    np.testing.assert_array_equal(best.mode(OBSERVATIONS), theirs.mode(OBSERVATIONS))
    assert (best.mode(OBSERVATIONS) != nigt_jax.load_policy(tmp_path).mode(OBSERVATIONS)).any()


@pytest.mark.slow
def test_a_later_one_that_is_worse_is_not_kept(tmp_path, returns):
    """Nor one that is as good; also after the run was stopped."""
    returns.extend([1.0, 5.0, 2.0, 5.0, 3.0, 4.0, *[0.0] * 20])
    stop = threading.Event()
    stop_after = lambda progress: stop.set() if progress["iteration"] == 3 else None
    train(config(**OFTEN), tmp_path, environment=EndsWhenGood(), progress=stop_after, interrupted=stop)
    assert nigt_jax.load_policy(tmp_path / "best").iteration == 1
    train(config(**OFTEN), tmp_path, resume=True, environment=EndsWhenGood())
    assert nigt_jax.load_policy(tmp_path / "best").iteration == 1


def test_nothing_is_kept_that_was_not_asked_for(straight):
    assert not (straight[1] / "best").exists()
