"""The examples do what they say."""

import re
import runpy
import sys
from pathlib import Path

import jax
import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example in a folder of its own, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def go(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    yield go
    for module in ("policy", "own_environment"):
        sys.modules.pop(module, None)


def numbers(text):
    return [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_optax_in_nnx(run):
    (error,) = numbers(run("optax_in_nnx"))
    assert error < 0.1  # a line at best has 0.2


def test_one_file(run):
    text = run("nigt_in_one_file")
    assert len((EXAMPLES / "nigt_in_one_file.py").read_text().splitlines()) <= 80
    assert numbers(text.splitlines()[-1])[-1] > 150 > 40 > numbers(text.splitlines()[0])[-1]


def test_own_environment(run):
    assert numbers(run("own_environment"))[1] < 0.3


@pytest.mark.slow
def test_own_clock(run):
    (_, rennala), (_, synchronous) = map(numbers, run("own_clock").splitlines())
    assert rennala < synchronous / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_method", "own_estimator"])
def test_own_parts(run, name):
    for line in run(name).splitlines():
        before, after = numbers(line)[:2]
        assert after > before / 2  # returns are negative


@pytest.mark.slow
def test_many_runs(run):
    assert len(run("many_runs").splitlines()) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brax's own habits
def test_training_in_python_and_gymnasium(run):
    """Trained in Brax, played in Gymnasium: a pole that is let alone falls within 20 steps."""
    pytest.importorskip("imageio")
    text = run("train_in_python")
    assert numbers(text.splitlines()[-2])[0] > 200
    played = run("gymnasium_policy", "policies/in-python", "InvertedPendulum-v5")
    returns = [numbers(line)[1] for line in played.splitlines()]
    assert len(returns) == 5
    assert min(returns) > 200
