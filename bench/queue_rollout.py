"""The trajectory queue beside the masked scan over the horizon, and the memory that it takes.

Run `python bench/queue_rollout.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark import WAYS, compare_ways, machine, runtime_of_ways
from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu

HORIZON = 1000


def main() -> None:
    """Measures every environment and prints a table, then the memory of a round of few and of many episodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="*", default=["hopper", "walker2d", "humanoid"], help="on spring")
    parser.add_argument("--lanes", type=int, default=64, help="of a device")
    parser.add_argument("--each", type=int, default=8, help="episodes a lane")
    parser.add_argument("--turns", type=int, default=3, help="turns of every way to play, after one that warms up")
    parser.add_argument("--memory", nargs="*", type=int, default=[1000, 10_000], help="episodes of a humanoid's round")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    records = []
    for name in args.environments:
        records.append(measure(name, args.lanes, args.each, args.turns))
        print(table(records[-1]), flush=True)
    for episodes in args.memory:
        records.append(memory(episodes))
        print("{environment}, a round of {episodes:,} episodes: {peak_mib:,.0f} MiB at its peak".format(**records[-1]))
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(name: str, lanes: int, each: int, turns: int) -> dict[str, Any]:
    """Every way on two devices of a CPU, or the one accelerator."""
    jax.config.update("jax_num_cpu_devices", 2)
    runtime = runtime_of_ways(name, HORIZON, lanes, each, len(jax.devices()))
    rows = compare_ways(runtime, list(WAYS), turns)
    return {"environment": name, "lanes": lanes, "episodes_a_lane": each, "ways": rows} | machine(runtime.devices)


def memory(episodes: int) -> dict[str, Any]:
    """What a round of a humanoid's episodes takes at its peak, by XLA's analysis of the program; nothing is run."""
    runtime = SimulatedRuntime(
        check_config(
            {
                "environment": {"name": "humanoid", "horizon": HORIZON},
                "estimator": {"name": "policy_gradient"},
                "method": {"batch_size": episodes},
                "training": {"lanes": 32, "devices": 1, "chunk": 1, "compilation_cache": False},
            }
        )
    )
    return {
        "environment": "humanoid",
        "episodes": episodes,
        "episodes_at_once": runtime.parts.episodes,
        "peak_mib": runtime.chunk.peak_bytes() / 2**20,
    }


def table(record: dict[str, Any]) -> str:
    """The lines of an environment."""
    lines = [f"{record['environment']}, {record['lanes']} lanes a device, {record['episodes_a_lane']} episodes a lane"]
    for way, row in record["ways"].items():
        low, middle, high = min(row["ratios"]), statistics.median(row["ratios"]), max(row["ratios"])
        lines.append(
            f"  {way:20} useful / computed {row['useful_per_computed']:.2f}  "
            f"{row['useful_steps_per_second']:10,.0f} useful steps/s  x {middle:.1f} ({low:.1f} - {high:.1f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
