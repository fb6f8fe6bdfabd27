"""A round of training as it is compiled here, beside the same round as XLA compiles it when it is not told how.

Run `python bench/compile_options.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from nigt_jax.benchmark import machine, take_turns
from nigt_jax.collectives import sum_over
from nigt_jax.compilation import compile_options, known_options
from nigt_jax.config import Config, check_config
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu
from nigt_jax.training import Hyperparameters, Parts, TrainState, run_round, spent_of, whole_steps

ENVIRONMENTS = ("hopper", "walker2d", "humanoid", "inverted_pendulum")


def main() -> None:
    """Measures every environment and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS), help="of Brax, on spring")
    parser.add_argument("--horizon", type=int, default=200, help="steps of an episode, at most")
    parser.add_argument("--batch-size", type=int, default=100, help="episodes of a round")
    parser.add_argument("--lanes", type=int, default=25, help="of each device")
    parser.add_argument("--turns", type=int, default=7, help="turns of all ways, after one that warms up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    print("| environment | options | ms a round | useful steps/s | of none (range) | compiling |")
    print("|---|---|---|---|---|---|")
    records = []
    for environment in args.environments:
        records += measure(configure(args, environment), args.turns)
        for record in records[-len(ways()) :]:
            print(row(record), flush=True)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def configure(args: argparse.Namespace, environment: str) -> Config:
    """A run without a cache, so that everything is compiled in this process."""
    return check_config(
        {
            "environment": {"name": environment, "backend": "spring", "horizon": args.horizon},
            "method": {"batch_size": args.batch_size},
            "training": {"lanes": args.lanes, "platform": "cpu", "compilation_cache": False},
        }
    )


def ways() -> dict[str, dict[str, Any]]:
    """No options, ours, and ours with XLA's older emitters of fused operations, where it still has them."""
    ours, older = compile_options("cpu"), known_options({"xla_cpu_use_fusion_emitters": False})
    return {"none": {}, "ours": ours} | ({"ours, older emitters": ours | older} if older else {})


def measure(config: Config, turns: int) -> list[dict[str, Any]]:
    """The same round, from the same state, in every way by turns."""
    runtime = SimulatedRuntime(config)
    state = runtime.initial_state()
    programs: dict[str, Callable] = {}
    compiled, steps = {}, {}
    for name, options in ways().items():
        started = time.perf_counter()
        programs[name] = runtime.program(one_round, options)
        compiled[name] = time.perf_counter() - started
        steps[name] = int(whole_steps(programs[name](state)[0])[0])
    took = take_turns(programs, state, turns)
    rates = {name: [steps[name] / s for s in seconds] for name, seconds in took.items()}
    return [
        {
            "environment": config.environment.name,
            "options": name,
            "episodes": config.episodes_per_round,
            "lanes_per_device": runtime.parts.num_lanes[0],
            "seconds": took[name],
            "useful_steps": steps[name],
            "compile_seconds": compiled[name],
            "ratios": [ours / none for ours, none in zip(rates[name], rates["none"], strict=True)],
        }
        | machine(runtime.devices)
        for name in programs
    ]


def one_round(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Any:
    """Useful steps, and what was learnt, so that nothing of it is left out."""
    after, metrics = run_round(parts, state, hyperparameters, spent_of(1), jnp.ones(1, bool))
    return sum_over(parts.axis, metrics.env_steps), after.server


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    seconds, ratios = statistics.median(record["seconds"]), record["ratios"]
    rate = record["useful_steps"] / seconds
    return (
        f"| {record['environment']} | {record['options']} | {1e3 * seconds:.1f} | {rate:,.0f} "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {record['compile_seconds']:.0f} s |"
    )


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
