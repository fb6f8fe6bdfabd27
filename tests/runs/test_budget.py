"""Runs that end, are evaluated and slow down by gradients, steps or simulated time."""

import functools
import itertools
import threading

import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic
from short_runs import same

from nigt_jax.config import UNITS, Amount, amount_of, check_config
from nigt_jax.errors import UserError
from nigt_jax.records import read_metrics
from nigt_jax.runs import train
from nigt_jax.runs._standing import Amounts, is_done, next_stop, passed

TIMES = {"count": 3, "compute_time": {"values": [0.7, 1.1, 2.3]}, "noise": {"family": "exponential"}}


def config(method="rennala_nigt", training=None, every=7, workers=TIMES, **settings):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": "return_to_go"},
            "method": {"name": method, "learning_rate": 0.1, "batch_size": 4, **settings},
            "workers": workers,
            "training": {"chunk": 5, "devices": 2, "platform": "cpu", **(training or {"iterations": 24})},
            "evaluation": {"every": every, "episodes": 4},
        }
    )


def records(cfg, folder, environment=None):
    train(cfg, folder, environment=environment or EndsWhenGood())
    return read_metrics(folder / "metrics.jsonl")


def used(record, unit):
    return getattr(Amounts.of(record), unit)


def trained(rows):
    """What does not depend on evaluations, nor on how arrivals are divided into blocks."""
    others = ("return_", "episode_", "evaluation_", "computed_steps")
    return [{k: v for k, v in row.items() if not k.startswith(others)} for row in same(rows)]


BY = [("rennala_nigt", "gradients"), ("ringmaster_nigt", "env_steps")]
OTHERS = [(name, unit) for name in ("rennala_nigt", "ringmaster_nigt", "ringleader_nigt", "lapg") for unit in UNITS]


@pytest.fixture(scope="module")
def longest(tmp_path_factory):
    """The records of a long run of each method; made once."""
    return functools.cache(lambda method: records(config(method), tmp_path_factory.mktemp(method)))


@pytest.mark.parametrize(
    ("method", "unit"), [*BY, *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHERS if case not in BY)]
)
def test_a_run_ends_at_the_first_round_that_reaches_its_budget(method, unit, longest, tmp_path):
    """The rounds of a long run, up to there and no further; evaluations likewise at the first round past each mark."""
    rows = longest(method)
    end, interval = used(rows[-6], unit), used(rows[-6], unit) / 4.5
    if unit != "simulated_time":
        end, interval = int(end), max(1, int(interval))
    cfg = config(method, {"budget": str(Amount(end, unit))}, str(Amount(interval, unit)))
    short = records(cfg, tmp_path)
    reached = next(k for k, row in enumerate(rows) if used(row, unit) >= end)
    assert trained(short) == trained(rows[: reached + 1])
    marks = [used(row, unit) // interval for row in short]
    past = [0, *(k for k, (a, b) in enumerate(itertools.pairwise(marks), 1) if b > a)]
    evaluated = [row["iteration"] for row in short if "return_mean" in row]
    assert evaluated == sorted({*past, len(short) - 1})
    assert 4 <= len(evaluated) < len(short)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rennala_nigt", "ringleader_nigt"])
def test_a_run_goes_on_by_its_budget_after_an_interruption(method, tmp_path):
    """Steps are counted on from the checkpoint, and not from zero; and tables are as full as they were."""
    cfg = config(method, {"budget": "250 env_steps"}, "90 env_steps")
    straight = records(cfg, tmp_path / "straight")
    stop = threading.Event()
    train(
        cfg,
        tmp_path / "broken",
        environment=EndsWhenGood(),
        interrupted=stop,
        progress=lambda told: stop.set() if told["iteration"] >= 5 else None,
    )
    assert 5 <= len(read_metrics(tmp_path / "broken" / "metrics.jsonl")) < len(straight)
    train(cfg, tmp_path / "broken", environment=EndsWhenGood(), resume=True)
    assert same(read_metrics(tmp_path / "broken" / "metrics.jsonl")) == same(straight)
    longer = config(method, {"budget": "300 env_steps"}, "90 env_steps")
    train(longer, tmp_path / "broken", environment=EndsWhenGood(), resume=True)
    assert 300 <= read_metrics(tmp_path / "broken" / "metrics.jsonl")[-1]["env_steps"] < 320


@pytest.mark.parametrize(
    ("method", "a_round"),
    [
        # Every round has 4 gradients of 4 steps each, and the slowest worker and its exchange take 2 + 1.
        pytest.param("synchronous_nigt", {"env_steps": 16, "simulated_time": 3}, marks=pytest.mark.slow),
        ("afedpg", {"env_steps": 4}),
        pytest.param("synchronous_nigt", {"gradients": 4}, marks=pytest.mark.slow),
        pytest.param("afedpg", {"gradients": 1}, marks=pytest.mark.slow),
    ],
)
def test_half_lives_in_other_units_are_the_same_ones(method, a_round, tmp_path):
    """As those in rounds, which an independent oracle has shown to be right."""
    workers = {"count": 4, "compute_time": {"values": [1, 1, 1, 2]}, "communication_time": {"values": [1, 1, 1, 1]}}
    settings = {"training": {"iterations": 12}, "workers": workers}
    half_lives = {unit: str(Amount(3 * each, unit)) for unit, each in a_round.items()} | {"iterations": 3.0}
    rows = {
        unit: same(records(config(method, **settings, learning_rate_half_life=given), tmp_path / unit, Quadratic()))
        for unit, given in half_lives.items()
    }
    assert all(found == rows["iterations"] for found in rows.values())


def test_a_time_that_rounding_misses_is_reached():
    """Ten rounds of 0.7 are 6.9999998 in float32."""
    cfg = config(training={"budget": "7 simulated_time"}, every="3.5 simulated_time")
    ten, five = (float(np.float32(0.7)) * rounds for rounds in (10, 5))
    assert ten < 7
    assert is_done(cfg, Amounts(10, 0, 0, ten))
    assert not is_done(cfg, Amounts(9, 0, 0, ten - 0.7))
    assert passed("3.5 simulated_time", Amounts(4, 0, 0, five - 0.7), Amounts(5, 0, 0, five))


def test_where_a_run_stops_next():
    cfg = config(training={"budget": "100 gradients", "chunk": 50}, every="30.5 simulated_time")
    now = Amounts(iterations=12, gradients=48, env_steps=7, simulated_time=61.5)
    stop = next_stop(cfg, now)
    assert (stop.rounds, stop.gradients, stop.env_steps) == (38, 100, float("inf"))  # a checkpoint every 50 rounds
    assert stop.simulated_time == pytest.approx(91.5, rel=2e-6)
    assert not is_done(cfg, now)
    assert is_done(cfg, now._replace(gradients=100))
    assert passed("30 gradients", now._replace(gradients=29), now)
    assert not passed("30 gradients", now._replace(gradients=30), now)


def test_iterations_and_budget_replace_each_other():
    file = {"training": {"iterations": 500}}
    ends = lambda data, overrides=None: [str(end) for end in check_config(data, overrides=overrides).training.ends]
    assert ends(file) == ["500 iterations"]
    assert ends({}) == ["300 iterations"]
    assert ends(file, {"training.budget": "90 gradients"}) == ["90 gradients"]
    assert ends({"training": {"budget": "90 gradients"}}, {"training.iterations": 20}) == ["20 iterations"]
    both = {"training": {"budget": "90 gradients", "iterations": 20}}
    assert ends(both) == ["20 iterations", "90 gradients"]  # whichever comes first


@pytest.mark.parametrize(
    ("given", "means"),
    [("1e6 env_steps", Amount(1e6, "env_steps")), (" 2.50  simulated_time", Amount(2.5, "simulated_time"))],
)
def test_amounts(given, means):
    assert amount_of(check_config({"training": {"budget": given}}).training.budget) == means


@pytest.mark.parametrize(
    "given", ["60", "6000 gradient", "0 gradients", "1.5 gradients", "nan gradients", "-3 env_steps"]
)
def test_amounts_that_are_none(given):
    with pytest.raises(UserError, match=r"training.budget: got .* allowed: a (number and its unit|whole number), "):
        check_config({"training": {"budget": given}})
