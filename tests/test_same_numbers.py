"""The same configuration on the same kind of machine has the same numbers, bit for bit, in whatever process."""

import os
import subprocess
import sys

import pytest
from short_runs import same

from nigt_jax.records import read_metrics

pytestmark = pytest.mark.slow  # two processes that compile everything: in one process other tests look at the same

TRAINING = """
environment: {name: fast, horizon: 6}
policy: {hidden_sizes: [8]}
estimator: {name: gae}
method: {batch_size: 6, learning_rate: 0.1}
workers: {count: 3, noise: {family: exponential}}
training: {iterations: 8, platform: cpu, devices: 2, compilation_cache: false}
evaluation: {every: 4, episodes: 4}
"""
SYSTEM = """
system: svrpg_tracking
task: {kind: tabular, states: 3, actions: 2, horizon: 5}
estimator: {reduction: svrpg, batch: 2, snapshot_batch: 4, period: 3}
workers: {count: 3, noise: {family: exponential}}
training: {iterations: 8, platform: cpu, compilation_cache: false}
evaluation: {every: 4}
"""
RUN = """
import sys
from nigt_jax.cli import main
for name in ("training", "system"):
    status = main(["train", f"{name}.yaml", "--output", "runs", "--name", name, "--training.chunk", sys.argv[1]])
    assert status == 0, status
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Folders of two processes, whose chunks have other lengths and whose sets another order."""
    folders, processes = [], []
    for chunk in ("4", "3"):
        folders.append(tmp_path_factory.mktemp(f"chunk{chunk}"))
        (folders[-1] / "training.yaml").write_text(TRAINING)
        (folders[-1] / "system.yaml").write_text(SYSTEM)
        environ = os.environ | {"PYTHONHASHSEED": chunk}
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen([sys.executable, "-c", RUN, chunk], cwd=folders[-1], env=environ, **told))
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    return folders


@pytest.mark.parametrize("name", ["training", "system"])
def test_two_processes_have_the_same_numbers(two_processes, name):
    one, other = (same(read_metrics(folder / "runs" / name / "metrics.jsonl")) for folder in two_processes)
    assert len(one) == 9
    assert one == other
