"""One update of nigt beside optax's own optimisers: time, state and peak memory, in one interleaved run.

Run `python bench/transform.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import optax

from nigt_jax.benchmark import TRIAD, compare_transforms, in_words, machine


def main() -> None:
    """Measures every size and layout and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e4, 1e6, 1e8], help="numbers of parameters")
    parser.add_argument("--leaves", type=int, nargs="+", default=[1, 100], help="numbers of arrays they are in")
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which every contender has one turn")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    here = machine(jax.devices()[:1]) | {"optax": optax.__version__}
    print(f"{in_words(here)}, optax {optax.__version__}; {args.rounds} rounds, float32\n")
    print(f"{'parameters':>10} {'arrays':>6}  {'transform':18} {'time':>10} {'ratio':>6} {'quartiles':>11}", end="")
    print(f" {'state':>6} {'peak':>6} {'of limit':>8}")
    records = []
    for size in map(int, args.sizes):
        for leaves in args.leaves:
            for record in compare_transforms(size, leaves, args.rounds):
                records.append(here | record)
                print(row(record), flush=True)
            print()
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    milliseconds, (low, high) = 1e3 * record["seconds"], record["quartiles"]
    limit = "" if record["transform"] == TRIAD else f"{record['of_bandwidth_limit']:8.0%}"
    return (
        f"{record['parameters']:10.0e} {record['arrays']:6}  {record['transform']:18} {milliseconds:7.3f} ms "
        f"{record['ratio']:6.2f} {low:5.2f}-{high:5.2f} {record['state_bytes_a_parameter']:6.2f} "
        f"{record['peak_bytes_a_parameter']:6.2f} {limit}"
    )


if __name__ == "__main__":
    main()
