"""Sweeps on the disk whose curves are formulas: nothing is trained, so what a report says of them is known."""

import re
import shutil
import subprocess

import numpy as np

from nigt_jax.config import Config
from nigt_jax.records import EnvironmentRecord, Provenance, RunFolder, Shared, write_metrics, written_now
from nigt_jax.runs import resources
from nigt_jax.sweeps import Plan, create_sweep, load_sweep, reported_runs
from nigt_jax.sweeps._tuning import choose

SWEEP = """
base:
  environment: {name: reacher, horizon: 10}
  estimator: {name: policy_gradient}
  training: {budget: 100 gradients}
scenarios:
  equal: {workers.compute_time.worker_exponent: 0}
  slow-communication: {workers.compute_time.worker_exponent: 0.5, workers.communication_time: {scale: 5}}
variants:
  rennala: {method.name: rennala_nigt, method.batch_size: 10}
  afedpg: {method.name: afedpg}
tune:
  method.learning_rate: [0.1, 0.2, 0.4]
  seed: [100]
grid:
  seed: [0, 1, 2, 3, 4]
"""


def provenance(shared):
    """What run.json says."""
    own = resources(Config())
    return Provenance(
        versions=written_now(None, 0),
        asked=own,
        resolved=own,
        platform="cpu",
        environment=EnvironmentRecord("name", ((0.0,) * 4,) * 3),
        trace=None,
        shared=shared,
    )


def write_sweep(tmp_path, value, rate=lambda run: 1.0, text=SWEEP, name="made-up", norm=lambda run: 1.0):
    """A sweep's folder, all of it done.

    Args:
      tmp_path: where.
      value: maps (run, simulated time) to the return.
      rate: maps a run to its gradients in a unit of time.
      text: the sweep.
      name: the folder's name.
      norm: maps a run to the norm of its next gradient.
    """
    (tmp_path / f"{name}.yaml").write_text(text)
    sweep = load_sweep(tmp_path / f"{name}.yaml")
    folder = create_sweep(
        tmp_path, name, name, sweep, Plan([[run.name for run in sweep.runs]], [len(sweep.runs)], {}), join=False
    )
    _write(folder, 0, value, rate, norm)
    if sweep.tuned:
        records = lambda run: _records(run, value, rate, norm)
        choices = choose(folder.runs, sweep.tuned, records, lambda run: False)
        runs = reported_runs(sweep, {case: choice.values for case, choice in choices.items()})
        plan = Plan([[run.name for run in runs]], [len(runs)], {})
        folder.write_chosen(choices, plan)
        folder.add(runs, plan)
        _write(folder, 1, value, rate, norm)
    return folder


def _write(folder, number, value, rate, norm):
    for row, run in enumerate(folder.runs_of(number)):
        own = RunFolder(folder.run_folder(run).path)
        own.path.mkdir()
        own.write_config(run.config)
        own.write_provenance(provenance(Shared("../../programs/001/checkpoints", row)))
        write_metrics(own.metrics, _records(run, value, rate, norm))
    folder.program_folder(number).mkdir()
    folder.write_outcome(number, {run.name: None for run in folder.runs_of(number)})


def _records(run, value, rate, norm):
    method, records = run.config.method, []
    each = method.gradients_per_update
    for k in range(int(100 / each) + 1):
        time = k * each / rate(run)
        record = {
            "iteration": k, "gradients": k * each, "env_steps": 10 * k * each, "computed_steps": 12 * k * each,
            "communications": k, "uploads": k * 10, "downloads": k * 10, "bytes_up": k * 4000, "bytes_down": k * 4000,
            "simulated_time": time, "wall_time": 0.5 * k,
        }  # fmt: skip
        if k:
            delay = k - 1 if method.schedule == "arrivals" else 0
            record |= {"discarded": 2, "delay": min(delay, 9), "gradient_norm": norm(run), "diverged": 0}
            record |= {"query_return_mean": 0.0}
        if k % max(1, 10 // each) == 0:
            record |= {"return_mean": float(value(run, time)), "return_std": 1.0, "episode_length_mean": 10.0}
            record |= {"evaluation_diverged": 0}
        records.append(record)
    return records


def seed_of(run):
    """A number between -1 and 1 for a run's seed."""
    return float(np.linspace(-1, 1, 5)[run.config.seed % 5])


def browser():
    """A Chromium, None where there is none."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome"))
    return next(filter(None, found), None)


def opened(page, folder, width, scheme, place=""):
    """What a page has become in a browser that has said nothing on its console, and asked nobody for anything."""
    log = folder / "net.json"
    command = [
        browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},900", f"--blink-settings=preferredColorScheme={scheme}", "--virtual-time-budget=8000",
        "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom", page.as_uri() + place,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = re.findall(r'"url":"(https?://[^"]*)"', log.read_text(encoding="utf-8", errors="replace"))
    assert not [url for url in asked if "google" not in url and "gstatic" not in url]  # the browser's own calls home
    return done.stdout
