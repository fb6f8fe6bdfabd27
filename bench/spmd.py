"""Training under pmap beside the same training under shard_map, and whether both come to the same numbers.

Run `python bench/spmd.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark import compare_spmd, machine
from nigt_jax.config import load_config
from nigt_jax.runtimes import cpu_cores, split_cpu


def main() -> None:
    """Measures both and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).parent.parent / "configs" / "default.yaml")
    parser.add_argument("--rounds", type=int, default=25, help="of training in a turn; a chunk has so many")
    parser.add_argument("--turns", type=int, default=15, help="turns of both, after one that warms up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    # Without a cache both are compiled in this process.
    config = load_config(args.config, {"training.compilation_cache": "false"})
    record = {"config": args.config.name} | compare_spmd(config, args.rounds, args.turns)
    record = machine(jax.devices()) | record
    print(line(record))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


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
