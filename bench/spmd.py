"""Training under pmap beside the same training under shard_map, and whether both come to the same numbers.

Run `python bench/spmd.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nigt_jax.benchmark import machine
from nigt_jax.config import load_config
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu
from nigt_jax.training import TrainState

KINDS = ("pmap", "shard_map")


def main() -> None:
    """Measures both and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).parent.parent / "configs" / "default.yaml")
    parser.add_argument("--rounds", type=int, default=25, help="of training in a turn; a chunk has so many")
    parser.add_argument("--turns", type=int, default=15, help="turns of both, after one that warms up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    record = measure(args.config, args.rounds, args.turns)
    print(line(record))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


def measure(config: Path, rounds: int, turns: int) -> dict[str, Any]:
    """Time of the same rounds under both, which go first by turns; each goes on from where its last turn has ended."""
    runtimes = {kind: make_runtime(config, kind, rounds) for kind in KINDS}
    states = {kind: runtime.initial_state() for kind, runtime in runtimes.items()}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(turns + 1):
        for kind in KINDS if turn % 2 else KINDS[::-1]:
            started = time.perf_counter()
            states[kind], _ = runtimes[kind].run(states[kind], rounds)
            times[kind].append(time.perf_counter() - started)
    ratios = [s / p for p, s in zip(times["pmap"][1:], times["shard_map"][1:], strict=True)]
    same = all(map(np.array_equal, *(numbers(states[kind]) for kind in KINDS)))
    return {
        "config": config.name,
        "rounds": rounds,
        "lanes_per_device": runtimes["pmap"].parts.num_lanes[0],
        "seconds": {kind: statistics.median(took[1:]) for kind, took in times.items()},
        "compile_seconds": {kind: runtime.compile_seconds for kind, runtime in runtimes.items()},
        "ratios": ratios,
        "same_state": same,
    } | machine(runtimes["pmap"].devices)


def make_runtime(config: Path, kind: str, rounds: int) -> SimulatedRuntime:
    """The run, compiled without a cache, so that both are compiled in this process."""
    changes = {"training.spmd": kind, "training.chunk": str(rounds), "training.compilation_cache": "false"}
    runtime = SimulatedRuntime(load_config(config, changes))
    runtime.compile()
    return runtime


def numbers(state: TrainState) -> list[np.ndarray]:
    """All arrays of a state, on the host."""
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(state)]


def line(record: dict[str, Any]) -> str:
    """What a person reads."""
    low, middle, high = statistics.quantiles(record["ratios"], n=4)
    took, compiled = record["seconds"], record["compile_seconds"]
    return (
        f"{record['config']}, {record['rounds']} rounds on {record['devices']} devices: pmap {took['pmap']:.3f}s, "
        f"shard_map {took['shard_map']:.3f}s, shard_map / pmap {middle:.3f} ({low:.3f} - {high:.3f}); compiling "
        f"{compiled['pmap']:.0f}s, {compiled['shard_map']:.0f}s; the same state, bit for bit: {record['same_state']}"
    )


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
