"""A policy evaluated again: what the run has recorded, or more of it, or without noise."""

import json
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic

import nigt_jax
from nigt_jax.cli import main
from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.records import read_metrics
from nigt_jax.runs import record_episode


@pytest.fixture(scope="module")
def run(straight):
    return straight[1]


def test_the_same_episodes_have_the_same_returns(run):
    """Of the newest checkpoint and of an older one."""
    recorded = {r["iteration"]: r for r in read_metrics(run / "metrics.jsonl") if "return_mean" in r}
    kept = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    compared = 0
    for iteration in (None, *kept):
        found = nigt_jax.evaluate(run, iteration=iteration, environment=EndsWhenGood())
        if found["iteration"] in recorded:
            compared += 1
            for key in ("return_mean", "return_std", "episode_length_mean", "evaluation_diverged"):
                assert found[key] == pytest.approx(recorded[found["iteration"]][key], rel=1e-5)
    assert compared >= 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")
def test_mjx_has_the_same_returns(tmp_path):
    """What XLA for CPU makes of its products depends on how they are compiled, and is wrong by default."""
    config = {
        "environment": {"name": "hopper", "backend": "mjx", "horizon": 100},
        "method": {"batch_size": 16},
        "training": {"devices": 1, "lanes": 16, "iterations": 1},
        "evaluation": {"episodes": 16},
    }
    nigt_jax.train(check_config(config), tmp_path / "run")
    last = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "return_mean" in row][-1]
    found = nigt_jax.evaluate(tmp_path / "run")
    assert found["return_mean"] == pytest.approx(last["return_mean"], rel=1e-4)
    assert found["episode_length_mean"] == last["episode_length_mean"]


def test_more_episodes_on_other_seeds(run):
    first, other = (nigt_jax.evaluate(run, episodes=4000, seed=seed, environment=EndsWhenGood()) for seed in (1, 2))
    assert first["episodes"] == 4000
    assert first["return_mean"] != other["return_mean"]
    assert abs(first["return_mean"] - other["return_mean"]) < 5 * np.hypot(first["return_error"], other["return_error"])
    assert first["return_error"] == pytest.approx(first["return_std"] / np.sqrt(4000))


def test_without_noise_an_action_is_the_mode(run):
    """An episode from the one state in which this environment begins is then always the same."""
    found = nigt_jax.evaluate(run, episodes=50, noise=False, environment=EndsWhenGood())
    assert found["return_std"] == pytest.approx(0, abs=1e-6)
    assert nigt_jax.evaluate(run, episodes=50, environment=EndsWhenGood())["return_std"] > 0.01


def test_mistakes(run, tmp_path):
    with pytest.raises(UserError, match="episodes: got 0, allowed: 1 to 1,000,000"):
        nigt_jax.evaluate(run, episodes=0)
    for seed in (-1, 2**32, 2**63):
        for call in (nigt_jax.evaluate, record_episode):
            with pytest.raises(UserError, match=f"seed: got {seed}, allowed: 0 to 4294967295"):
                call(run, seed=seed)
    with pytest.raises(UserError, match="has no checkpoint of iteration 3, allowed: "):
        nigt_jax.evaluate(run, iteration=3)
    with pytest.raises(UserError, match="is no run folder"):
        nigt_jax.evaluate(tmp_path)
    with pytest.raises(UserError, match="its observations have 2 numbers, allowed: those of the run, 1"):
        nigt_jax.evaluate(run, environment=Two())


class Two(Quadratic):
    """Sees twice as much."""

    observation_size = 2

    def reset(self, rng):
        """The same, shown twice."""
        state = super().reset(rng)
        return state._replace(obs=jnp.tile(state.obs, 2))

    def step(self, state, action):
        """Likewise."""
        after = super().step(state, action)
        return after._replace(obs=jnp.tile(after.obs[:1], 2))


class _Shown(NamedTuple):
    obs: Any
    reward: Any
    done: Any
    data: Any


class _Bodies(NamedTuple):
    xpos: Any
    xquat: Any


class Precise(EndsWhenGood):
    """It has a body, and notes how precise products are where it is traced."""

    seen: ClassVar[list] = []

    def reset(self, rng):
        """The same start, with a body in it."""
        return _Shown(*super().reset(rng), _Bodies(jnp.zeros((2, 3)), jnp.zeros((2, 4))))

    def step(self, state, action):
        """Likewise."""
        self.seen.append(jax.config.jax_default_matmul_precision)
        return _Shown(*super().step(state, action), state.data)


def test_an_episode_is_played_as_precisely_as_in_training(run):
    found = record_episode(run, environment=Precise())
    assert set(Precise.seen) == {"highest"}
    assert found.positions.shape == (len(found.rewards) + 1, 1, 3)


@pytest.mark.parametrize("command", ["evaluate", "render"])
def test_a_seed_out_of_range_is_seen_before_anything_is_computed(run, capsys, monkeypatch, command):
    monkeypatch.setattr("nigt_jax.cli._process.prepare", None)
    assert main([command, str(run), "--seed", "4294967296"]) == 2
    assert "seed: got 4294967296, allowed: 0 to 4294967295" in capsys.readouterr().err


def test_the_command(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == nigt_jax.evaluate(run, episodes=20)
    assert main(["evaluate", str(run), "--without-noise"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("iteration 12, ")
    assert "mode of the policy" in text
    assert main(["evaluate", str(run), "--episodes", "none"]) == 2
