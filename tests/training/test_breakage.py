"""Breaking the physics does not pay: a policy learns not to, and a run that is about nothing else stops."""

import warnings

import jax
import numpy as np
import pytest
from probes import Costly

from nigt_jax.config import check_config
from nigt_jax.errors import RunError, RunWarning
from nigt_jax.records import read_metrics
from nigt_jax.training import Trainer, train
from nigt_jax.training._breakage import Breakage

HORIZON = 6


def config(method="rennala_nigt", iterations=40, penalty=None, most=1.0, each=1, **training):
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
                "trajectories_per_gradient": each,
            },
            "workers": {"count": 4},
            "training": {"iterations": iterations, "chunk": 10, "devices": 2, **training},
            "evaluation": {"every": 100, "episodes": 64},
        }
    )


def broken(folder, episodes):
    """Fraction of episodes that broke in every round, and the evaluations."""
    first, *rounds = records = read_metrics(folder / "metrics.jsonl")
    return np.array([r["diverged"] / episodes for r in rounds]), first, records[-1]


@pytest.mark.filterwarnings("ignore::nigt_jax.errors.RunWarning")
@pytest.mark.parametrize(("method", "iterations", "each"), [("rennala_nigt", 40, 1), ("afedpg", 100, 4)])
def test_a_policy_learns_not_to_break_the_physics(tmp_path, method, iterations, each):
    cfg = config(method, iterations, each=each)
    train(cfg, tmp_path, environment=Costly())
    fraction, untrained, trained = broken(tmp_path, cfg.episodes_per_round)
    assert fraction[:3].mean() > 0.5
    assert fraction[-10:].mean() < 0.1
    assert trained["return_mean"] > untrained["return_mean"]
    assert untrained["evaluation_diverged"] > 32 > 8 > trained["evaluation_diverged"]
    assert untrained["return_mean"] < -HORIZON  # worse than an episode in which nothing broke


@pytest.mark.filterwarnings("ignore::nigt_jax.errors.RunWarning")
def test_without_a_penalty_it_would_learn_to(tmp_path):
    """The probe tells: this is what happened before."""
    train(config(penalty=0), tmp_path, environment=Costly())
    fraction, *_ = broken(tmp_path, 16)
    assert fraction[-10:].mean() > 0.97


def test_a_run_that_breaks_too_often_warns_and_stops_where_it_can_go_on(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RunWarning)
        with pytest.raises(RunError, match=r"physics broke .* allowed: 5% .*last checkpoint is of iteration 10"):
            train(config(most=0.05), tmp_path, environment=Costly())
    (warning,) = [str(w.message) for w in told if w.category is RunWarning]
    assert "environment.divergence_penalty" in warning
    with pytest.warns(RunWarning):
        summary = train(config(), tmp_path, resume=True, environment=Costly())
    assert summary.iteration == 40


def test_one_episode_is_not_a_fraction():
    """Episodes of few at a time are judged a hundred at a time, the newest ones."""
    breakage = Breakage(most=0.5)
    for number in range(99):
        breakage.note(1, 1 if number < 1 else 0)
        assert breakage.fraction == 0
    breakage.note(1, 0)
    assert breakage.fraction == 0.01
    for _ in range(100):
        breakage.note(1, 0)
    assert breakage.fraction == 0
    with pytest.warns(RunWarning, match=r"51\.0% of the newest"):
        breakage.note(1000, 510)
    assert breakage.too_much


def run(cfg):
    trainer = Trainer(cfg, Costly())
    state, metrics = trainer.run(trainer.acquainted(trainer.initial_state()), 10)
    return jax.device_get((state.server, state.lowest)), metrics


@pytest.mark.parametrize("method", ["rennala_nigt", "afedpg"])
def test_devices_lanes_blocks_and_layouts_do_not_matter(method):
    (plain, lowest), metrics = run(config(method, devices=1))
    assert lowest == [-1.0]
    assert metrics.diverged.sum() > 3
    others = {"devices": 4, "lanes": 2, "spmd": "shard_map", "layout": "masked"}
    if method == "rennala_nigt":
        others["block"] = 8
    (other, other_lowest), other_metrics = run(config(method, **others))
    np.testing.assert_array_equal(lowest, other_lowest)
    np.testing.assert_array_equal(metrics.diverged, other_metrics.diverged)
    np.testing.assert_allclose(metrics.query_return_mean, other_metrics.query_return_mean, rtol=1e-5)
    for x, y in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)
