"""The installed command as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nigt_jax.cli import main

NIGT = str(Path(sys.executable).with_name("nigt"))
ROOT = Path(__file__).parents[2]
TINY = """
environment: {name: fast, horizon: 5}
policy: {hidden_sizes: [4]}
method: {batch_size: 4}
training: {iterations: 2000, chunk: 5, platform: cpu}
evaluation: {every: 1000, episodes: 4}
checkpoint: {every: 500}
"""


def nigt(*arguments, cwd=ROOT, **options):
    """What the command printed and returned."""
    done = subprocess.run([NIGT, *map(str, arguments)], cwd=cwd, text=True, capture_output=True, timeout=300, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def tiny(tmp_path):
    """A configuration that runs in no time."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "COMMAND"),
        (("trian",), "invalid choice: 'trian'"),
        (("train",), "CONFIG"),
        (("train", "none.yaml"), "none.yaml: cannot be read"),
        (("train", "configs"), "is a folder"),
        (("train", "configs/quick.yaml", "--method.learning_rat", "1"), "did you mean --method.learning_rate?"),
        (("train", "configs/quick.yaml", "--method.learning_rate"), "expected one argument"),
        (("train", "configs/quick.yaml", "--method.learning_rate", "-1"), "greater than 0"),
        (("train", "configs/quick.yaml", "extra"), "'extra'"),
        (("train", "configs/quick.yaml", "--training.devices", "7"), "allowed: 1, 2, 5"),
        (("train", "configs/quick.yaml", "--output", "README.md"), "is no folder"),
        (("train", "configs/quick.yaml", "--output", ".", "--name", "tests"), "exists already"),
        (("train", "configs/quick.yaml", "--name", "a/b"), "--name"),
        (("train", "tests", "--resume"), "no config.yaml"),
        (("train", "none", "--resume"), "no such run folder"),
        (("train", "tests", "--resume", "--name", "x"), "--name: not with --resume"),
    ],
)
def test_mistakes(arguments, says):
    done = nigt(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_cpu_is_split_into_as_many_devices_as_asked_for(tiny, tmp_path):
    done = nigt(
        "train", tiny, "--output", tmp_path, "--name", "x", "--training.devices", "4", "--training.iterations", "2"
    )
    assert done.returncode == 0, done.stderr
    assert nigt("train", tmp_path / "x", "--resume").returncode == 0  # done already; with the same four


def test_backends_that_are_not_there(tiny, tmp_path):
    done = nigt("train", tiny, "--output", tmp_path, env=os.environ | {"JAX_PLATFORMS": "bogus"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "finds no device" in done.stderr


def test_a_platform_that_is_not_there_leaves_nothing_behind(tiny, tmp_path):
    done = nigt("train", tiny, "--training.platform", "tpu", "--output", tmp_path / "runs", "--name", "x")
    assert done.returncode == 2
    assert "training.platform: got tpu" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "runs" / "x").exists()


def test_dry_run_prints_the_whole_configuration_and_writes_nothing(tiny, tmp_path):
    done = nigt("train", tiny, "--dry-run", "--seed", "7", cwd=tmp_path)
    assert done.returncode == 0
    assert "seed: 7" in done.stdout
    assert "learning_rate_half_life" in done.stdout
    assert "gae_lambda" not in done.stdout  # a setting of another estimator
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]
    again = tmp_path / "again.yaml"
    again.write_text(done.stdout)
    assert nigt("train", again, "--dry-run").stdout == done.stdout


def test_dry_run_checks_what_only_jax_and_the_environment_know(tiny, tmp_path):
    for option, value, line in (
        ("--training.platform", "tpu", "training.platform: got tpu"),
        ("--workers.environments", "[{workers: [1], reward: {no_such: 2.0}}]", "got reward weight no_such"),
    ):
        done = nigt("train", tiny, "--dry-run", option, value, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert line in done.stderr


MINE = """
import jax.numpy as jnp
from probes import Quadratic

class Needs(Quadratic):
    def __init__(self, something): pass

def make():
    return Quadratic()
"""


def test_an_environment_of_the_current_folder(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_of_a_test.py").write_text(MINE)
    (tmp_path / "broken_of_a_test.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, status, says in (
        ("mine_of_a_test:Quadratic", 0, ""),
        ("mine_of_a_test:make", 0, ""),
        ("mine_of_a_test:Quadratics", 2, "the module mine_of_a_test has no Quadratics"),
        ("mine_of_a_test:Needs", 2, "cannot be made without arguments: TypeError: Needs.__init__() missing 1"),
        ("broken_of_a_test:Quadratic", 2, f"cannot be imported from {tmp_path}: ModuleNotFoundError: No module named"),
        ("no_such_module:Quadratic", 2, "no_such_module cannot be imported from"),
    ):
        assert main(["train", str(tiny), "--environment.name", name, "--dry-run"]) == status
        out, err = capsys.readouterr()
        assert says in err
        if status == 0:
            assert (f"name: {name}\n" in out, err) == (True, "")
        else:
            assert (out, err.count("\n")) == ("", 1)
            assert err.startswith(f"nigt: environment.name: {name}: ")


def test_help_explains_every_setting():
    from nigt_jax.config import describe

    text = nigt("train", "--help-settings").stdout
    flat = " ".join(text.split())
    for setting in describe():
        assert f"--{setting.key} " in flat
    assert "[distance in parameter space]" in flat
    assert "(default: 0.9)" in flat


def test_a_run_from_start_to_end(tiny, tmp_path):
    done = nigt("train", tiny, "--output", tmp_path / "runs", "--training.iterations", "20")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny-001"
    assert str(folder) in done.stdout
    for word in ("iteration", "simulated time", "return", "useful steps/s", "time left", "compiling"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout  # plain lines in a pipe
    assert done.stderr == ""
    config = (folder / "config.yaml").read_text()
    assert "iterations: 20" in config
    assert f"devices: {max(k for k in (1, 2, 4) if k <= len(os.sched_getaffinity(0)))}" in config  # auto, resolved
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["20"]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 21
    assert nigt("train", tiny, "--output", tmp_path / "runs", "--name", "tiny-001").returncode == 2


@pytest.mark.slow
def test_the_quick_configuration_learns(tmp_path):
    """The whole thing as a user starts it: an untrained hopper falls, and hops by the hundredth round."""
    done = nigt("train", "configs/quick.yaml", "--output", tmp_path, "--name", "quick", "--training.iterations", "100")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "quick" / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert last["return_mean"] > first["return_mean"] + 4 * first["return_std"]


def test_a_failed_start_leaves_its_name_free(tiny, tmp_path):
    huge = ("--workers.compute_time.parameter_exponent", "10", "--workers.compute_time.scale", "1e30")
    done = nigt("train", tiny, "--output", tmp_path, "--name", "x", *huge)
    assert done.returncode == 2
    assert "allowed: 1e-30 to 1e+30" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("seconds", [0.7, pytest.param(3.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_while_it_starts(tiny, tmp_path, number, seconds):
    """Whatever it was doing, loading, compiling or running: status 130, and what there is can be resumed."""
    command = [NIGT, "train", str(tiny), "--output", str(tmp_path), "--name", "r"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # the run's folder exists, JAX is not loaded
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "stopping after this chunk" in out
    assert any((tmp_path / "r" / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_killed_run_is_resumed_without_gaps(tiny, tmp_path):
    command = [NIGT, "train", str(tiny), "--output", str(tmp_path), "--name", "r", "--checkpoint.every", "100"]
    process = subprocess.Popen([*command, "--training.iterations", "100000"], stdout=subprocess.PIPE, text=True)
    while len(list((tmp_path / "r" / "checkpoints").glob("[1-9]*00"))) < 2:
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.communicate()
    last = max(int(p.name) for p in (tmp_path / "r" / "checkpoints").glob("[1-9]*00")) + 50
    assert nigt("train", tmp_path / "r", "--resume", "--training.iterations", str(last)).returncode == 0
    records = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [r["iteration"] for r in records] == list(range(last + 1))


@pytest.mark.parametrize(
    "number",
    [*(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGHUP)), signal.SIGTERM],
)
def test_interrupt_and_resume(tiny, tmp_path, number):
    process = subprocess.Popen(
        [NIGT, "train", str(tiny), "--output", str(tmp_path), "--name", "r", "--training.iterations", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if line.startswith("iteration") and not line.split()[1].startswith("0/"):
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in out
    assert err == ""
    checkpoint = max(int(p.name) for p in (tmp_path / "r" / "checkpoints").iterdir())
    records = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["iteration"] == checkpoint > 0
    last = checkpoint + 50
    assert nigt("train", tmp_path / "r", "--resume", "--training.iterations", str(last)).returncode == 0
    records = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [r["iteration"] for r in records] == list(range(last + 1))
