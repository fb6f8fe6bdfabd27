"""Many runs in one program beside the same runs one after the other.

Run `python bench/runs.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark import compare_runs, machine
from nigt_jax.config import Config, check_config
from nigt_jax.runtimes import cpu_cores, split_cpu

ARRIVALS = ("afedpg", "asynchronous_pg", "ringmaster_nigt", "ringleader_nigt")
METHODS = {"rennala_nigt": 1} | dict.fromkeys(ARRIVALS, 20)  # and how many updates make as many gradients


def main() -> None:
    """Measures every method and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=16, help="seeds and step sizes")
    parser.add_argument("--rounds", type=int, default=6, help="of training in a turn")
    parser.add_argument("--turns", type=int, default=3, help="turns of both ways, after one that warms up")
    parser.add_argument("--environment", default="hopper", help="on spring")
    parser.add_argument("--horizon", type=int, default=200, help="steps of an episode")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["rennala_nigt", "afedpg"])
    parser.add_argument("--trajectories", type=int, default=1, help="of a gradient, where arrivals are absorbed alone")
    parser.add_argument("--lanes", type=int, help="a device, of all runs together (default: auto)")
    parser.add_argument("--lanes-alone", type=int, help="a device, of one run (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    records = []
    for method in args.methods:
        records.append(measure(args, method))
        print(line(records[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """Time of all runs, from the start, together and one after the other."""
    rounds = args.rounds * METHODS[method]
    base, alone = (configure(args, method, rounds, lanes) for lanes in (args.lanes, args.lanes_alone))
    (found,) = compare_runs(base, [args.runs], rounds, args.turns, alone=alone)
    return (
        {"method": method, "environment": args.environment, "trajectories": args.trajectories}
        | found
        | machine(jax.devices())
    )


def configure(args: argparse.Namespace, method: str, rounds: int, lanes: int | None) -> Config:
    """The first run; sequence and grid differ from it in traced settings only."""
    return check_config(
        {
            "environment": {"name": args.environment, "horizon": args.horizon},
            "estimator": {"name": "return_to_go"},
            "method": {"name": method}
            | ({"trajectories_per_gradient": args.trajectories} if method in ARRIVALS else {"batch_size": 20}),
            "training": {"iterations": rounds, "chunk": rounds, "compilation_cache": False, "lanes": lanes or "auto"},
            "evaluation": {"episodes": 16},
        }
    )


def line(record: dict[str, Any]) -> str:
    """What a person reads of a method."""
    ratios, took, compiled = record["ratios"], record["seconds"], record["compile_seconds"]
    return (
        f"{record['method']}: {record['runs']} runs of {record['rounds']} rounds on {record['environment']}, "
        f"{took['in sequence']:.1f}s one after the other ({record['lanes_alone']} lanes a device), "
        f"{took['together']:.1f}s together ({record['lanes_together']} lanes): x {record['ratio']:.2f} "
        f"({min(ratios):.2f} - {max(ratios):.2f}); with compilation ({compiled['in sequence']:.0f}s, "
        f"{compiled['together']:.0f}s) x {record['ratio_with_compilation']:.2f}"
    )


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
