"""How long a run compiles, beside one compiled step of its environment: cold, and once the programs are kept.

Run `python bench/compile_time.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = [f"{name} {backend}" for name in ("hopper", "humanoid") for backend in ("spring", "generalized", "mjx")]
COLUMNS = ("environment", "a step with reset", "of it tracing", "a run", "run / step", "again", "again / first")


def main() -> None:
    """Starts processes of their own for each case, one after the other, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="'NAME BACKEND'", help="by default six")
    parser.add_argument("--lanes", type=int, default=64, help="side by side, on one device")
    parser.add_argument("--batch-size", type=int, default=256, help="episodes of a round")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", choices=("step", "run"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        name, backend = args.cases[0].split()
        print(json.dumps((step if args.only == "step" else run)(name, backend, args.lanes, args.batch_size)))
        return
    records = []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for case in args.cases:
        with tempfile.TemporaryDirectory() as cache:
            first = {"case": case} | apart(case, "step", args, cache) | apart(case, "run", args, cache)
            records.append(first | {"again": apart(case, "run", args, cache)["run"]})
        print(row(records[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"cores": os.cpu_count(), "records": records}, indent=1) + "\n")


def apart(case: str, what: str, args: argparse.Namespace, cache: str) -> dict[str, Any]:
    """The figures of a process of its own."""
    sizes = ["--lanes", str(args.lanes), "--batch-size", str(args.batch_size)]
    done = subprocess.run(
        [sys.executable, __file__, "--cases", case, "--only", what, *sizes],
        env=os.environ | {"XDG_CACHE_HOME": cache, "JAX_COMPILATION_CACHE_DIR": str(Path(cache) / "jax")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def step(name: str, backend: str, lanes: int, batch_size: int) -> dict[str, float]:
    """Seconds to trace, and to compile, a reset and a step of so many lanes, as training vectorises them."""
    import jax
    import jax.numpy as jnp

    from nigt_jax.compilation import compile_options
    from nigt_jax.environments import action_space, make_environment
    from nigt_jax.rollout import side_by_side

    jax.config.update("jax_enable_compilation_cache", False)
    environment = make_environment(config_of(name, backend, lanes, batch_size).environment)
    reset, advance = side_by_side(environment, lanes_last=jax.default_backend() == "cpu")
    actions = jnp.zeros((action_space(environment).size, lanes))
    keys = jax.random.split(jax.random.key(0), lanes)
    first_step = jax.jit(lambda keys, actions: advance(None, reset(None, keys), actions))
    started = time.perf_counter()
    lowered = first_step.lower(keys, actions)
    traced = time.perf_counter()
    lowered.compile(compiler_options=compile_options(jax.default_backend()))
    return {"step_traced": traced - started, "step": time.perf_counter() - started}


def run(name: str, backend: str, lanes: int, batch_size: int) -> dict[str, float]:
    """Seconds to make a run's runtime, and to trace and compile all that it needs."""
    import jax

    from nigt_jax.runtimes import SimulatedRuntime

    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config = config_of(name, backend, lanes, batch_size)
    started = time.perf_counter()
    runtime = SimulatedRuntime(config)
    runtime.initial_state()
    runtime.compile()
    return {"run": time.perf_counter() - started}


def config_of(name: str, backend: str, lanes: int, batch_size: int) -> Any:
    """A run's configuration."""
    from nigt_jax.config import check_config

    return check_config(
        {
            "environment": {"name": name, "backend": backend, "horizon": 200},
            "method": {"batch_size": batch_size},
            "training": {"devices": 1, "lanes": lanes},
        }
    )


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    cells = (
        record["case"],
        f"{record['step']:.1f} s",
        f"{record['step_traced']:.1f} s",
        f"{record['run']:.1f} s",
        f"{record['run'] / record['step']:.2f}",
        f"{record['again']:.1f} s",
        f"{record['again'] / record['run']:.2f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
