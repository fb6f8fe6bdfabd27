"""Policies that leave the house: as arrays and JSON they act in JAX and in bare NumPy as they did in the run."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nigt_jax
from nigt_jax.cli import main
from nigt_jax.errors import UserError
from nigt_jax.runs._numpy_policy import Policy


@pytest.fixture(scope="module")
def run(straight):
    return straight[1]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "policy"
    assert main(["export", str(run), "--output", str(folder)]) == 0
    return folder


OBSERVATIONS = np.random.default_rng(0).normal(0, 30, (5, 7, 1)).astype(np.float32)  # some beyond ten deviations


def test_numpy_acts_as_the_run_did(run, exported):
    trained, plain = nigt_jax.load_policy(run), Policy(exported)
    for shown in (OBSERVATIONS, OBSERVATIONS[0, 0]):
        np.testing.assert_allclose(plain.mode(shown), trained.mode(shown), rtol=1e-5, atol=1e-6)
        wanted = trained.policy.distribution(trained.model.params, trained.normalizer, jnp.asarray(shown))
        for ours, theirs in zip(plain.distribution(shown), wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    draws = np.arctanh(plain.act(np.tile(OBSERVATIONS[0, 0], (20_000, 1)), np.random.default_rng(1)).astype(np.float64))
    mean, deviation = plain.distribution(OBSERVATIONS[0, 0])
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * float(deviation.max()) / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(0), deviation, rtol=0.03)


def test_it_is_loaded_as_a_run_is(run, exported):
    ours, theirs = nigt_jax.load_policy(exported), nigt_jax.load_policy(run)
    assert ours.iteration == theirs.iteration == 12
    np.testing.assert_array_equal(ours.mode(OBSERVATIONS), theirs.mode(OBSERVATIONS))
    key = jax.random.key(3)
    np.testing.assert_array_equal(ours.act(OBSERVATIONS, key), theirs.act(OBSERVATIONS, key))
    about = json.loads((exported / "policy.json").read_text())
    assert (about["observation_size"], about["action_size"], about["action_range"]) == (1, 1, [-1, 1])
    assert about["environment"]["name"] == "probes:EndsWhenGood"
    assert about["versions"]["nigt_jax"] == nigt_jax.__version__


def test_its_file_needs_numpy_alone(exported, tmp_path):
    """Copied elsewhere, imported from there; of all that is installed NumPy alone is loaded."""
    shutil.copytree(exported, tmp_path / "elsewhere")
    code = """
import sys
from policy import Policy
action = Policy().mode([0.5])
assert action.shape == (1,)
assert not {"jax", "flax", "nigt_jax"} & set(sys.modules)
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert len((exported / "policy.py").read_text().splitlines()) <= 50


def test_an_older_checkpoint(run, tmp_path):
    kept = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    assert len(kept) > 1
    older = nigt_jax.load_policy(run, iteration=kept[0])
    assert older.iteration == kept[0]
    assert (np.asarray(older.mode(OBSERVATIONS)) != np.asarray(nigt_jax.load_policy(run).mode(OBSERVATIONS))).any()
    nigt_jax.export(run, tmp_path / "older", iteration=kept[0])
    np.testing.assert_array_equal(nigt_jax.load_policy(tmp_path / "older").mode(OBSERVATIONS), older.mode(OBSERVATIONS))
    with pytest.raises(UserError, match=rf"has no checkpoint of iteration 3, allowed: {kept[0]}, "):
        nigt_jax.load_policy(run, iteration=3)


def test_nothing_is_written_over(run, exported, capsys):
    assert main(["export", str(run), "--output", str(exported)]) == 2
    assert capsys.readouterr().err == f"nigt: {exported}: is there already, allowed: a folder that is not\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("policy.json", "{", "policy.json: is damaged, or no description of a policy"),
        ("policy.json", '{"format": 2}', "policy.json: got format 2, allowed: 1; a newer version wrote it"),
        ("policy.json", '{"format": 1, "hidden_sizes": 3}', "policy.json: is damaged"),
        ("policy.npz", "no archive", "policy.npz: cannot be read: "),
        ("policy.npz", None, "policy.npz: cannot be read: "),
    ],
)
def test_damage_is_named(exported, tmp_path, name, content, says):
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(UserError, match=says):
        nigt_jax.load_policy(folder)


def test_arrays_of_another_policy(exported, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(exported, folder)
    about = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(about | {"observation_size": 2}))
    with pytest.raises(UserError, match=r"does not hold what policy.json beside it says"):
        nigt_jax.load_policy(folder)


def test_a_pickle_is_not_loaded(exported, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(exported, folder)
    np.savez(folder / "policy.npz", mean_kernel=np.asarray([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"policy\.npz: does not hold what policy\.json beside it says"):
        nigt_jax.load_policy(folder)


def test_onnx_that_is_not_installed(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(UserError, match=r"onnx: jax2onnx is not installed, allowed: pip install 'nigt_jax\[onnx\]'"):
        nigt_jax.export(run, tmp_path / "policy", onnx=True)
    assert not (tmp_path / "policy").exists()


@pytest.mark.slow
def test_onnx_acts_as_the_run_did(run, tmp_path, capfd):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    trained = nigt_jax.export(run, tmp_path / "policy", onnx=True)
    assert capfd.readouterr().err == ""
    session = runtime.InferenceSession(tmp_path / "policy" / "policy.onnx")
    for batch in (1, 7):
        shown = OBSERVATIONS[0][:batch]
        (action,) = session.run(["action"], {"observation": shown})
        np.testing.assert_allclose(action, trained.mode(shown), rtol=1e-5, atol=1e-6)
