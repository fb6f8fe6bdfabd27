"""Stages of `nigt bench` in the programs that they share, beside a program of each stage alone, in one interleaved run.

Run `python bench/stages.py --help`. What the figures mean is in bench/README.md.
"""

import argparse
import functools
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark import PROGRAMS, compile_stages, in_words, machine, play_stages, take_turns
from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu

Way = Callable[[Any], Any]


def main() -> None:
    """Measures every stage both ways and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="hopper", help="Brax environment, on spring")
    parser.add_argument("--horizon", type=int, default=200, help="steps of an episode at most")
    parser.add_argument("--episodes", type=int, default=128, help="of a round")
    parser.add_argument("--lanes", type=int, default=16, help="of a device")
    parser.add_argument("--turns", type=int, default=31, help="turns of every program, after one that warms up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    runtime = SimulatedRuntime(
        check_config(
            {
                "environment": {"name": args.environment, "horizon": args.horizon},
                "method": {"batch_size": args.episodes},
                "training": {"lanes": args.lanes, "compilation_cache": False},
            }
        )
    )
    record = measure(runtime, args.turns) | machine(runtime.devices)
    print(f"{in_words(record)}\n")
    for stage, ratios in record["ratios"].items():
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{stage:18} shared / alone {middle:.3f} ({low:.3f} - {high:.3f})")
    compiling = record["compile_processor_seconds"]
    print(
        f"compiling, processor's seconds: {compiling['all']:.0f} for all stages, {compiling['round']:.0f} for a round"
    )
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


def measure(runtime: SimulatedRuntime, turns: int) -> dict[str, Any]:
    """Ratios of seconds in each turn, by stage; and what compiling takes of the processor, whatever else it does."""
    shared: dict[str, Way] = {}
    alone: dict[str, Way] = {}
    spent = {"all": 0.0}
    for one in PROGRAMS:
        before = processor_seconds()
        shared |= compile_stages(runtime, one)
        spent["all"] += processor_seconds() - before
        for far, stage in enumerate(one.stages):
            before = processor_seconds()
            alone[stage] = runtime.program(functools.partial(play_stages, one, far=jax.numpy.int32(far)))
            spent["round"] = processor_seconds() - before  # the last one's in the end
    pairs = {(stage, kind): ways[stage] for stage in shared for kind, ways in enumerate((shared, alone))}
    took = take_turns({str(key): way for key, way in pairs.items()}, runtime.initial_state(), turns)
    ratio = lambda stage: [a / b for a, b in zip(*(took[str((stage, kind))] for kind in (0, 1)), strict=True)]
    return {"ratios": {stage: ratio(stage) for stage in shared}, "compile_processor_seconds": spent}


def processor_seconds() -> float:
    """Of this process so far."""
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
