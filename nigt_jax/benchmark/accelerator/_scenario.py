"""A scenario of the paper with its grid: runs of many step sizes, and the reported seeds, in one program."""

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import nigt_jax
from nigt_jax.benchmark.accelerator._sizes import Sizes
from nigt_jax.errors import UserError
from nigt_jax.records import read_metrics
from nigt_jax.sweeps import SweepFolder, create_sweep, load_sweep, plan_of, platform_of, run_sweep

_FILE = Path(nigt_jax.__file__).parents[1] / "configs" / "paper" / "quick" / "hopper.yaml"


def scenario(sizes: Sizes) -> dict[str, Any]:
    """Workers of different speeds in hopper: all methods with rounds, whose runs share a program.

    Raises:
      UserError: the configurations of the paper are not beside the package.
    """
    if not _FILE.is_file():
        raise UserError("configs/paper is not beside the package; allowed: a checkout")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "scenario.yaml"
        file.write_text(json.dumps(_sweep(sizes)), encoding="utf-8")  # which YAML reads, too
        sweep = load_sweep(file)
        plan = plan_of(sweep.runs, platform_of(sweep.runs))
        made = create_sweep(folder, "scenario", "scenario", sweep, plan, join=False)
        started = time.perf_counter()
        result = run_sweep(made, interrupted=threading.Event())
        return _figures(made, result.failed, time.perf_counter() - started)


def _sweep(sizes: Sizes) -> dict[str, Any]:
    budget = f"{sizes.gradients} gradients"
    every = f"{max(1, sizes.gradients // 4)} gradients"
    return {
        "base": str(_FILE),
        "overrides": {
            "training.budget": budget,
            "training.lanes": sizes.lanes,
            "training.block": "auto",
            "evaluation.every": every,
            "checkpoint.every": budget,
        },
        "scenarios": {"equal": None, "slow-communication": None},
        # Of single arrivals, and so another program.
        "variants": {"afedpg": None, "rennala-50": {"method.name": "rennala_nigt", "method.batch_size": 50}},
    }


def _figures(folder: SweepFolder, failed: dict[str, str], seconds: float) -> dict[str, Any]:
    last = [record for run in folder.runs for record in read_metrics(folder.run_folder(run).metrics)[-1:]]
    steps = sum(record["env_steps"] for record in last)
    return {
        "runs": len(folder.runs),
        "programs": len(folder.programs),
        "runs that broke": len(failed),
        "with compiling, s": seconds,
        "steps/s, compiling and evaluations included": steps / seconds,
    }
