"""Strong and weak scaling over virtual CPU devices: whether results agree, and what a round's exchanges carry.

Virtual devices share the cores that there are, so times would say nothing of scaling and none are taken. `--model`
prints the tables of docs/scaling.md instead, a model on paper of many accelerators.

Run `python bench/scaling.py --help`. What the figures mean, and those of one run, are in bench/README.md.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from communication import Volume, volume
from scaling_model import show

from nigt_jax.benchmark import in_words, machine
from nigt_jax.config import Config, check_config
from nigt_jax.runtimes import SimulatedRuntime

ESTIMATORS = ("policy_gradient", "return_to_go", "leave_one_out", "gae")
COLUMNS = ("gradient", "weight", "metrics", "statistics", "baseline", "critic")


@dataclasses.dataclass(frozen=True)
class Run:
    """A few rounds on some devices.

    Attributes:
      found: what a round exchanges.
      start: parameters before the first round, one vector.
      params: after the last, the query point.
      env_steps: of all rounds, up to the ends of episodes.
      computed_steps: that all lanes made, idle ones included.
    """

    found: Volume
    start: np.ndarray
    params: np.ndarray
    env_steps: int
    computed_steps: int


def main() -> None:
    """Runs every estimator on every number of devices and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="store_true", help="print the model's tables, and run nothing")
    parser.add_argument("--environment", default="inverted_pendulum", help="Brax environment, on spring")
    parser.add_argument("--horizon", type=int, default=50, help="steps of an episode")
    parser.add_argument("--batch-size", type=int, default=32, help="M of strong scaling; of weak, on most devices")
    parser.add_argument(
        "--devices",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8],
        help="numbers of virtual devices, first the one to compare with",
    )
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=ESTIMATORS, help="to run")
    parser.add_argument("--weak", nargs="*", default=["leave_one_out"], choices=ESTIMATORS, help="of weak scaling")
    parser.add_argument("--rounds", type=int, default=3, help="of training, after which results are compared")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    records = show() if args.model else measure(args)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of all runs, each printed as soon as it is there."""
    jax.config.update("jax_num_cpu_devices", max(args.devices))
    # Who asked for an exchange is said by metadata, which the cache would otherwise take from any program alike.
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    here = machine(jax.devices())
    print(f"{in_words(here)}; {args.environment}, {args.horizon} steps, {args.rounds} rounds\n")
    print(f"| scaling | estimator | devices | M | bytes a round | 4(d + 1) | ratio | {' | '.join(COLUMNS)} ", end="")
    print("| all-reduces | of them in a block | useful steps | difference |")
    print("|---" * (11 + len(COLUMNS)) + "|")
    records = []
    most, runs = max(args.devices), {}
    strong = [("strong", name, k, args.batch_size) for name in args.estimators for k in args.devices]
    weak = [("weak", name, k, args.batch_size * k // most) for name in args.weak for k in args.devices]
    for scaling, estimator, devices, batch_size in strong + weak:
        key = estimator, devices, batch_size
        if key not in runs:
            runs[key] = play(configure(args, *key))
        compared = scaling == "strong" and devices != args.devices[0]
        reference = runs[estimator, args.devices[0], args.batch_size] if compared else None
        case = {"scaling": scaling, "estimator": estimator, "devices": devices, "batch_size": batch_size}
        records.append(here | case | figures(runs[key], reference))
        print(row(records[-1]), flush=True)
    return records


def configure(args: argparse.Namespace, estimator: str, devices: int, batch_size: int) -> Config:
    """A run of Rennala NIGT on so many virtual devices; how many of them there are decides nothing but who plays."""
    return check_config(
        {
            "environment": {"name": args.environment, "backend": "spring", "horizon": args.horizon},
            "estimator": {"name": estimator},
            "method": {"name": "rennala_nigt", "batch_size": batch_size},
            "training": {"chunk": args.rounds, "devices": devices, "platform": "cpu"},
            "evaluation": {"episodes": 1},
        }
    )


def play(config: Config) -> Run:
    """The first rounds of the run, and what its program exchanges in one of them."""
    runtime = SimulatedRuntime(config)
    runtime.compile()
    state = runtime.initial_state()
    start = vector(state.server.sent)
    state, metrics = runtime.run(state, config.training.chunk)
    run = Run(
        found=volume(runtime),
        start=start,
        params=vector(state.server.sent),
        env_steps=int(metrics.env_steps.sum()),
        computed_steps=int(metrics.computed_steps.sum()),
    )
    # A process can map only so much code: twenty of these programs are too many to keep.
    jax.clear_caches()
    return run


def vector(params: Any) -> np.ndarray:
    """All parameters, on the host; a copy, for the state is given away."""
    return np.concatenate([np.array(x, np.float64).ravel() for x in jax.tree.leaves(params)])


def figures(run: Run, reference: Run | None) -> dict[str, Any]:
    """What is said of a run; `reference` is the same one on one device, if it is to be compared."""
    found = run.found
    return {
        "parameters": run.params.size,
        "bytes": found.bytes,
        "bytes_total": found.total,
        "minimum": 4 * (run.params.size + 1),
        "exchanges": found.exchanges,
        "bytes_a_block": found.bytes_a_block,
        "exchanges_a_block": found.exchanges_a_block,
        "kinds": found.kinds,
        "useful_steps": run.env_steps / run.computed_steps,
        "difference": None if reference is None else difference(run, reference),
    }


def difference(run: Run, reference: Run) -> float:
    """The largest difference of a parameter, as a part of the largest change that training made."""
    return float(np.max(np.abs(run.params - reference.params)) / np.max(np.abs(reference.params - reference.start)))


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    total, least, apart = record["bytes_total"], record["minimum"], record["difference"]
    split = " | ".join(f"{record['bytes'][name]:,.0f}" if name in record["bytes"] else "-" for name in COLUMNS)
    return (
        f"| {record['scaling']} | {record['estimator']} | {record['devices']} | {record['batch_size']} | {total:,.0f} "
        f"| {least:,} | {total / least:.3f} | {split} | {record['exchanges']:.1f} | {record['exchanges_a_block']} "
        f"| {record['useful_steps']:.0%} | {'-' if apart is None else f'{apart:.0e}'} |"
    )


if __name__ == "__main__":
    main()
