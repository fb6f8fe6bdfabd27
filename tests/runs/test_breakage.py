"""Breaking the physics does not pay: a policy learns not to, and a run that is about nothing else stops."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from probes import Costly

from nigt_jax.config import check_config
from nigt_jax.errors import RunError, RunWarning
from nigt_jax.records import read_metrics
from nigt_jax.runs import train
from nigt_jax.runs._breakage import Breakage
from nigt_jax.runtimes import SimulatedRuntime

HORIZON = 6


def config(method="rennala_nigt", iterations=20, penalty=None, most=1.0, **training):
    arrives = method == "afedpg"
    return check_config(
        {
            "environment": {
                "name": "fast",
                "horizon": HORIZON,
                "divergence_penalty": penalty,
                "max_diverged": most,
            },
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": "return_to_go"},
            "method": {
                "name": method,
                "batch_size": 16,
                "learning_rate": 0.05,
                "trajectories_per_gradient": 4 if arrives else 1,
            },
            "workers": {"count": 4},
            "training": {"iterations": iterations, "chunk": 10, "devices": 1, **training},
            "evaluation": {"every": 100, "episodes": 64},
        }
    )


class Course(NamedTuple):
    """A run with the penalty of the default, and one with a penalty of 0; arrays have an axis of these two.

    Attributes:
      method: of both.
      broken: of each round, the fraction of its episodes that broke the physics.
      early: the server and the lowest reward after 10 rounds, and the metrics of these.
      untrained: an evaluation of each.
      trained: likewise, at the end.
    """

    method: str
    broken: np.ndarray
    early: Any
    untrained: list[dict[str, Any]]
    trained: list[dict[str, Any]]


@pytest.fixture(
    scope="module",
    params=[("rennala_nigt", 40), pytest.param(("afedpg", 100), marks=pytest.mark.slow)],
    ids=lambda p: p[0],
)
def course(request):
    """One compilation for all that is asked of a method."""
    method, rounds = request.param
    cfg = config(method)
    runtime = SimulatedRuntime(cfg, Costly(), runs=[cfg, config(method, penalty=0.0)])
    state = runtime.acquainted(runtime.initial_state())
    untrained = runtime.evaluate(state)
    state, metrics = runtime.run(state, 10)
    early = jax.tree.map(lambda x: x[0], jax.device_get((state.server, state.lowest))), metrics  # of the only device
    diverged = [metrics.diverged]
    for _ in range(rounds // 10 - 1):
        state, metrics = runtime.run(state, 10)
        diverged.append(metrics.diverged)
    broken = np.concatenate(diverged) / cfg.episodes_per_round
    return Course(method, broken, early, untrained, runtime.evaluate(state))


def test_a_policy_learns_not_to_break_the_physics(course):
    broken, untrained, trained = course.broken[:, 0], course.untrained[0], course.trained[0]
    assert broken[:3].mean() > 0.5
    assert broken[-10:].mean() < 0.1
    assert trained["return_mean"] > untrained["return_mean"]
    assert untrained["evaluation_diverged"] > 32 > 8 > trained["evaluation_diverged"]
    assert untrained["return_mean"] < -HORIZON  # worse than an episode in which nothing broke


def test_without_a_penalty_it_would_learn_to(course):
    """The probe tells: this is what happened before."""
    assert course.broken[-10:, 1].mean() > 0.97


def test_devices_lanes_blocks_and_layouts_do_not_matter(course):
    (plain, lowest), metrics = course.early
    np.testing.assert_array_equal(lowest, -1.0)
    assert metrics.diverged[:, 0].sum() > 3
    others = {"devices": 4, "lanes": 2, "spmd": "shard_map", "layout": "masked"}
    if course.method == "rennala_nigt":
        others["block"] = 8
    runtime = SimulatedRuntime(config(course.method, **others), Costly())
    state, other = runtime.run(runtime.acquainted(runtime.initial_state()), 10)
    np.testing.assert_array_equal(lowest[:1], state.lowest)
    np.testing.assert_array_equal(metrics.diverged[:, :1], other.diverged)
    np.testing.assert_allclose(metrics.query_return_mean[:, :1], other.query_return_mean, rtol=1e-5)
    for x, y in zip(jax.tree.leaves(plain), jax.tree.leaves(jax.device_get(state.server)), strict=True):
        np.testing.assert_allclose(x[:1], y, rtol=1e-3, atol=1e-5)


def test_a_run_that_breaks_too_often_warns_and_stops_where_it_can_go_on(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RunWarning)
        with pytest.raises(
            RunError,
            match=r"iteration 10: the physics of .*Costly broke .* allowed: 5% .*last checkpoint is of iteration 10",
        ):
            train(config(most=0.05), tmp_path, environment=Costly())
    (warning,) = [str(w.message) for w in told if w.category is RunWarning]
    first, *rounds = read_metrics(tmp_path / "metrics.jsonl")
    assert first["evaluation_diverged"] > 32
    broken = sum(r["diverged"] for r in rounds)
    assert f"in {broken} of the newest 160 episodes" in warning
    with pytest.warns(RunWarning):
        summary = train(config(), tmp_path, resume=True, environment=Costly())
    assert summary.iteration == 20


def told(most, episodes, broken):
    """The warning, and the clause of the error."""
    breakage = Breakage(most, "hopper")
    with pytest.warns(RunWarning) as warned:
        breakage.note(episodes, broken)
    return str(warned[0].message), breakage.in_words


@pytest.mark.parametrize(
    ("most", "shown"),
    [(0.004, "0.4%"), (0.0, "0%"), (0.5, "50%"), (0.07, "7%"), (0.99999, "99.999%"), (1e-7, "1e-05%")],
)
def test_what_is_allowed_is_shown_as_it_is(most, shown):
    _, words = told(most, 1000, 20)
    assert "the physics of hopper broke (a NaN or an infinity) in 20 of the newest 1000 episodes (2%)" in words
    assert f", allowed: {shown} (environment.max_diverged)" in words


def test_the_warning_claims_no_charge_where_there_is_none():
    warning, _ = told(0.5, 100, 20)
    assert "is charged" not in warning
    assert "environment.divergence_penalty is what every step that they miss costs" in warning
    assert "nothing where none was below 0" in warning


def test_one_episode_is_not_a_fraction():
    """Episodes of few at a time are judged a hundred at a time, the newest ones."""
    breakage = Breakage(0.5, "hopper")
    for number in range(99):
        breakage.note(1, 1 if number < 1 else 0)
        assert breakage.fraction == 0
    breakage.note(1, 0)
    assert breakage.fraction == 0.01
    for _ in range(100):
        breakage.note(1, 0)
    assert breakage.fraction == 0
    with pytest.warns(RunWarning, match=r"in 510 of the newest 1000 episodes \(51%\)"):
        breakage.note(1000, 510)
    assert breakage.too_much
