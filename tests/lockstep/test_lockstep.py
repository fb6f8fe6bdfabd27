"""A job of two processes: the numbers of one process, whoever dies meanwhile."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.slow  # every process loads JAX and compiles

COMMAND = [str(Path(sys.executable).with_name("nigt"))]
LOCKSTEP = ["--runtime.kind", "lockstep", "--runtime.silence", "20"]
TWO = [*LOCKSTEP, "--runtime.processes", "2"]


@pytest.fixture
def tiny(tmp_path):
    """A configuration for four devices, whose critic learns from the episodes of all of them."""
    settings = {
        "environment": {"name": "fast", "horizon": 6},
        "policy": {"hidden_sizes": [4]},
        "estimator": {"name": "gae", "discount": 0.9, "critic_steps": 2},
        "method": {"name": "rennala_nigt", "batch_size": 8, "learning_rate": 0.05, "trajectories_per_gradient": 1},
        "workers": {"count": 3},
        "training": {"iterations": 8, "chunk": 2, "devices": 4, "lanes": 2, "platform": "cpu"},
        "evaluation": {"every": 4, "episodes": 4},
        "checkpoint": {"every": 2},
    }
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def start(folder, *arguments, **environment):
    return subprocess.Popen(
        [*COMMAND, "train", *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, status=0):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == status, errors
    return output, errors


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "wall_time"} for line in lines]


def same_numbers(some, others):
    assert [list(record) for record in some] == [list(record) for record in others]
    for one, other in zip(some, others, strict=True):
        for key, value in one.items():
            if isinstance(value, float):  # sums over devices of two processes are taken in another order
                np.testing.assert_allclose(value, other[key], rtol=2e-3, err_msg=key)
            else:
                assert value == other[key], key


def wait_for(path, seconds=240):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.05)


def others():
    """Numbers of the processes that lead nothing, of all jobs of this machine that this test has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"nigt_jax.runtimes.lockstep" in line:
            found.append(int(folder.name))
    return found


def nobody_is_left(seconds=60):
    until = time.monotonic() + seconds
    while others():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_two_processes_give_the_numbers_of_one(tiny, tmp_path):
    finish(start(tmp_path, tiny, "--name", "one"))
    output, errors = finish(start(tmp_path, tiny, "--name", "two", *TWO))
    same_numbers(records(tmp_path / "runs/one"), records(tmp_path / "runs/two"))
    assert "Gloo" not in output + errors
    assert "devices   4" in output
    nobody_is_left()


def test_interrupted_and_resumed_to_the_same_numbers(tiny, tmp_path):
    finish(start(tmp_path, tiny, "--name", "whole", *TWO))
    process = start(tmp_path, tiny, "--name", "cut", *TWO)
    wait_for(tmp_path / "runs/cut/checkpoints/2")
    process.send_signal(signal.SIGTERM)
    finish(process, 130)
    assert len(records(tmp_path / "runs/cut")) < 9
    finish(start(tmp_path, "runs/cut", "--resume"))
    assert records(tmp_path / "runs/cut") == records(tmp_path / "runs/whole")


def test_a_process_that_dies_ends_the_job_which_goes_on_later(tiny, tmp_path):
    process = start(tmp_path, tiny, "--name", "dies", "--training.iterations", 100_000, *TWO)
    wait_for(tmp_path / "runs/dies/checkpoints/4")
    (other,) = others()
    os.kill(other, signal.SIGKILL)
    died = time.monotonic()
    errors = finish(process, 1)[1]
    assert time.monotonic() - died < 60
    assert errors.count("\n") == 1
    assert "process 1 ended with status -9; " in errors
    done = max(int(path.name) for path in (tmp_path / "runs/dies/checkpoints").iterdir())
    file = tmp_path / "runs/dies/config.yaml"
    file.write_text(file.read_text().replace("iterations: 100000", f"iterations: {done + 4}"))
    finish(start(tmp_path, "runs/dies", "--resume"))
    assert [record["iteration"] for record in records(tmp_path / "runs/dies")] == list(range(done + 5))


def test_without_the_leader_nobody_goes_on(tiny, tmp_path):
    process = start(tmp_path, tiny, "--name", "led", "--training.iterations", 100_000, *TWO)
    wait_for(tmp_path / "runs/led/checkpoints/4")
    process.kill()
    process.communicate()
    nobody_is_left()


def job_of_two():
    """What a scheduler that JAX does not know has to tell both processes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return {"NIGT_COORDINATOR": f"127.0.0.1:{port}", "NIGT_PROCESSES": "2"}


def test_a_run_that_never_begins_lets_the_others_go(tiny, tmp_path):
    """The leader finds the name taken once both have joined."""
    (tmp_path / "runs/taken").mkdir(parents=True)
    job, began = job_of_two(), time.monotonic()
    following = start(tmp_path, tiny, *LOCKSTEP, NIGT_PROCESS="1", **job)
    errors = finish(start(tmp_path, tiny, "--name", "taken", *LOCKSTEP, NIGT_PROCESS="0", **job), 2)[1]
    assert "exists already" in errors
    assert errors.count("\n") == 1
    assert finish(following)[1] == ""
    assert time.monotonic() - began < 240


def test_processes_that_a_scheduler_has_started(tiny, tmp_path):
    job = job_of_two()
    away = tmp_path / "elsewhere"  # the other host has the configuration, and nothing of the run
    away.mkdir()
    following = start(away, tiny, *LOCKSTEP, NIGT_PROCESS="1", **job)
    finish(start(tmp_path, tiny, "--name", "job", *LOCKSTEP, NIGT_PROCESS="0", **job))
    finish(following)
    assert not list(away.iterdir())
    finish(start(tmp_path, tiny, "--name", "one"))
    same_numbers(records(tmp_path / "runs/one"), records(tmp_path / "runs/job"))


def test_devices_that_would_be_left_over(tiny, tmp_path):
    errors = finish(start(tmp_path, tiny, "--training.devices", "3", *TWO), 2)[1]
    assert errors.count("\n") == 1
    assert "training.devices: got 3, but" in errors
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
    nobody_is_left()
