"""Discrete actions from training to a policy that acts elsewhere."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenChosen
from resuming import config

import nigt_jax
from nigt_jax.errors import UserError
from nigt_jax.runs import export, load_policy, train
from nigt_jax.runs._numpy_policy import Policy

SHOWN = np.random.default_rng(0).normal(1, 3, (4, 6, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discrete") / "run"
    train(config(9, method={"learning_rate": 0.3}), folder, environment=EndsWhenChosen())
    return folder


def test_the_exported_policy_is_the_runs(run, tmp_path):
    trained = export(run, tmp_path / "policy")
    about = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert (about["distribution"], about["num_actions"]) == ("categorical", 3)
    assert "action_size" not in about
    plain, back = Policy(tmp_path / "policy"), load_policy(tmp_path / "policy")
    logits = trained.policy.distribution(trained.model.params, trained.normalizer, jnp.asarray(SHOWN)).logits
    np.testing.assert_allclose(plain.distribution(SHOWN)[0], logits, rtol=1e-5, atol=1e-6)
    for policy in (plain, back):
        assert policy.mode(SHOWN).shape == (4, 6)
        np.testing.assert_array_equal(policy.mode(SHOWN), trained.mode(SHOWN))
        assert policy.mode(SHOWN[0, 0]).shape == ()
    key = jax.random.key(1)
    np.testing.assert_array_equal(back.act(SHOWN, key), trained.act(SHOWN, key))


def test_numpy_draws_as_often_as_it_says(run, tmp_path):
    export(run, tmp_path / "policy")
    plain, number = Policy(tmp_path / "policy"), 40_000
    (logits,) = plain.distribution(SHOWN[0, 0].astype(np.float64))
    wanted = np.exp(logits) / np.exp(logits).sum()
    assert np.ptp(wanted) > 0.1
    drawn = plain.act(np.tile(SHOWN[0, 0], (number, 1)), np.random.default_rng(2))
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / number, wanted, atol=0.015)


def test_it_is_evaluated_with_noise_and_without(run):
    """Whoever never takes the last action has 0.3 in each of four steps; whoever takes it at once has 1.3."""
    found = {
        noise: nigt_jax.evaluate(run, noise=noise, episodes=16, environment=EndsWhenChosen()) for noise in (True, False)
    }
    assert found[False]["return_std"] == pytest.approx(0, abs=1e-6)
    assert found[False]["return_mean"] == pytest.approx(1.3) or found[False]["return_mean"] == pytest.approx(1.2)
    assert 1.2 < found[True]["return_mean"] < 2.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "estimator"),
    [
        ("rennala_nharpg", "leave_one_out"),
        ("robust_nigt", "return_to_go"),
        ("afedpg", "return_to_go"),
        ("malenia_nigt", "gae"),
        ("lapg", "policy_gradient"),
        ("fednpg_exact", "policy_gradient"),
        ("fednpg_admm", "policy_gradient"),
        ("fedpg_br", "leave_one_out"),
    ],
)
def test_every_kind_of_method_plays_them(tmp_path, method, estimator):
    settings = {"name": method, "learning_rate": 0.05, "batch_size": 10}
    training = {"iterations": 4, "devices": 1}
    cfg = config(4, method=settings, estimator={"name": estimator}, workers={"count": 5}, training=training)
    train(cfg, tmp_path / "run", environment=EndsWhenChosen())
    assert load_policy(tmp_path / "run").mode(SHOWN).dtype == np.int32


def test_both_kinds_of_actions_at_once_are_refused(tmp_path):
    class Both(EndsWhenChosen):
        action_size = 2

    with pytest.raises(UserError, match="Both: has action_size and num_actions, wanted: one of both"):
        train(config(), tmp_path / "run", environment=Both())
