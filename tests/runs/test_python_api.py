"""What people write in Python: paths as strings, lists as observations, policies as arguments, the same call again."""

import inspect
import threading
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic

import nigt_jax
from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.records import Checkpoints, RunFolder, Sinks
from nigt_jax.runs import _train
from nigt_jax.runtimes import SimulatedRuntime

CONFIG = check_config(
    {
        "environment": {"name": "fast", "horizon": 3},
        "policy": {"hidden_sizes": [4]},
        "method": {"batch_size": 2},
        "training": {"iterations": 1, "chunk": 1, "devices": 1, "platform": "cpu"},
        "evaluation": {"episodes": 2},
    }
)


class Wide(Quadratic):
    """Three numbers to look at."""

    def reset(self, key):
        """A fresh start."""
        return self._seen(super().reset(key))

    def step(self, state, action):
        """One move."""
        return self._seen(super().step(state._replace(obs=state.obs[:1]), action))

    @staticmethod
    def _seen(state):
        return state._replace(obs=jnp.concatenate([state.obs, jnp.array([1.0, -2.0])]))


class Unlike(Quadratic):
    """What is found only when it is compiled."""

    def step(self, state, action):
        """An end of another kind."""
        return super().step(state, action)._replace(done=state.done > 0)


def begin(folder, environment=None, **options):
    """A run that is interrupted before its first round: its checkpoint is there, and nothing was compiled."""
    event = threading.Event()
    event.set()
    return nigt_jax.train(CONFIG, folder, interrupted=event, environment=environment or Wide(), **options)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("run"))
    begin(folder)
    return nigt_jax.load_policy(folder)


def test_paths_are_strings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin("runs/mine")
    path = Path("runs/mine")
    assert nigt_jax.load_config("runs/mine/config.yaml") == nigt_jax.load_config(path / "config.yaml")
    assert nigt_jax.load_policy("runs/mine").iteration == nigt_jax.load_policy(path).iteration == 0


def test_a_path_is_no_configuration(tmp_path):
    train = inspect.unwrap(nigt_jax.train)  # without the types that tests check
    with pytest.raises(UserError, match=r"config: got a str, wanted a Config, such as load_config\(path\) makes"):
        train("configs/default.yaml", tmp_path / "run")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (Quadratic, "got the class Quadratic"),
        (Unlike(), "Unlike.step: done is bool"),
        ("hopper", r"environment: got str, which has no reset\(key\)"),
    ],
)
def test_the_same_call_after_a_mistake_was_mended(tmp_path, environment, says):
    with pytest.raises(UserError, match=says):
        nigt_jax.train(CONFIG, tmp_path / "run", environment=environment)
    begin(tmp_path / "run")
    with pytest.raises(UserError, match=r"run: holds a run already; resume=True continues it"):
        begin(tmp_path / "run")
    assert begin(tmp_path / "run", resume=True).iteration == 0


def test_the_same_call_after_compiling_has_failed(tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("XLA has no memory left")

    monkeypatch.setattr(SimulatedRuntime, "compile", fail)
    with pytest.raises(RuntimeError, match="no memory left"):
        nigt_jax.train(CONFIG, tmp_path / "run", environment=Wide())
    assert (tmp_path / "run" / "config.yaml").exists()
    begin(tmp_path / "run")


def test_a_run_has_begun_where_something_was_computed(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.metrics.write_text("")
    assert not folder.begun
    folder.metrics.write_text('{"iteration": 0}\n')
    assert folder.begun
    folder.metrics.unlink()
    (folder.checkpoints / "0").mkdir()
    assert folder.begun


OBSERVATION = [0.5, 1.0, -2.0]


@pytest.mark.parametrize(
    "observation",
    [
        tuple(OBSERVATION),
        np.array(OBSERVATION),
        np.array(OBSERVATION, np.float16),
        [np.float64(0.5), 1, jnp.asarray(-2.0)],
    ],
    ids=["tuple", "float64", "float16", "mixed"],
)
def test_observations_are_whatever_holds_numbers(policy, observation):
    key = jax.random.key(0)
    np.testing.assert_allclose(policy.mode(observation), policy.mode(jnp.array(OBSERVATION)), rtol=1e-6)
    np.testing.assert_allclose(policy.act(observation, key), policy.act(jnp.array(OBSERVATION), key), rtol=1e-6)


@pytest.mark.parametrize(
    ("observation", "says"),
    [
        (np.zeros(2), r"observation: got shape \(2,\), wanted \(..., 3\)"),
        (np.zeros((3, 1)), r"observation: got shape \(3, 1\), wanted \(..., 3\)"),
        (1.0, r"observation: got shape \(\), wanted \(..., 3\)"),
        ({"joints": np.zeros(3)}, r"observation: got a dict that is no array, wanted shape \(..., 3\)"),
        ([[1.0, 2.0, 3.0], [1.0]], r"observation: got a list that is no array"),
        ("up", r"observation: got a str that is no array"),
    ],
)
def test_observations_that_are_none(policy, observation, says):
    for ask in (policy.mode, lambda o: policy.act(o, jax.random.key(0))):
        with pytest.raises(UserError, match=says) as caught:
            ask(observation)
        assert "\n" not in str(caught.value)


def test_a_wrong_size_under_jit(policy):
    with pytest.raises(UserError, match=r"got shape \(5,\), wanted \(..., 3\)"):
        jax.jit(policy.mode)(np.zeros(5, np.float32))


def test_a_batch(policy):
    one, two = OBSERVATION, [1.5, 1.0, -2.0]
    np.testing.assert_allclose(policy.mode([one, two]), np.stack([policy.mode(one), policy.mode(two)]), rtol=1e-6)
    same = jnp.broadcast_to(jnp.array(OBSERVATION), (4000, 3))
    draws = np.arctanh(np.asarray(policy.act(same, jax.random.key(0)), np.float64))[:, 0]
    assert len(np.unique(draws)) > 3900  # each has its own noise
    assert np.median(draws) == pytest.approx(np.arctanh(float(policy.mode(one)[0])), abs=0.06)


def _act(policy, observation, key):
    return policy.act(observation, key)


def test_a_policy_is_an_argument(policy):
    """Its numbers are data: a second trace is only for an int that has become an array."""
    key, jitted = jax.random.key(0), jax.jit(chex.assert_max_traces(_act, n=2))
    np.testing.assert_allclose(jitted(policy, jnp.array(OBSERVATION), key), policy.act(OBSERVATION, key), rtol=1e-6)
    shifted = jax.tree.map(lambda x: x + 1, policy)
    np.testing.assert_allclose(jitted(shifted, jnp.array(OBSERVATION), key), shifted.act(OBSERVATION, key), rtol=1e-6)
    both = jax.tree.map(lambda *x: jnp.stack(x), *[jax.tree.map(jnp.asarray, p) for p in (policy, shifted)])
    modes = jax.vmap(lambda policy: policy.mode(jnp.array(OBSERVATION)))(both)
    np.testing.assert_allclose(modes, np.stack([policy.mode(OBSERVATION), shifted.mode(OBSERVATION)]), rtol=1e-6)


def test_what_has_begun_is_closed_where_a_run_cannot(tmp_path, monkeypatch):
    """Real workers would go on otherwise, for as long as a notebook is open."""
    closed = []
    for kind in (SimulatedRuntime, Checkpoints, Sinks):
        monkeypatch.setattr(kind, "close", lambda self: closed.append(type(self)))
    monkeypatch.setattr(_train, "Ledger", lambda *_: (_ for _ in ()).throw(RuntimeError("no ledger")))
    with pytest.raises(RuntimeError, match="no ledger"):
        begin(tmp_path / "run")
    assert closed == [Sinks, SimulatedRuntime, Checkpoints]
