"""A second start of the same run beside the first: whole processes, from nothing to the first evaluated round.

Run `python bench/second_start.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Starts the run with an empty cache folder, and again; several times, and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "default.yaml")
    parser.add_argument("--rounds", type=int, default=1, help="of training")
    parser.add_argument("--turns", type=int, default=3, help="pairs of a first start and a second one")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    pairs = []
    for _ in range(args.turns):
        with tempfile.TemporaryDirectory() as folder:
            pairs.append([start(args.config, args.rounds, Path(folder)) for _ in range(2)])
    record = {"config": args.config.name, "rounds": args.rounds, "starts": pairs, "cores": os.cpu_count()}
    print(line(record))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


def start(config: Path, rounds: int, folder: Path) -> dict[str, float]:
    """Seconds of the whole process, and those that it says it spent on compiling."""
    nigt = str(Path(sys.executable).with_name("nigt"))
    command = [nigt, "train", str(config), "--training.iterations", str(rounds)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--output", str(folder / "runs")],
        env={name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        | {"XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    took = time.perf_counter() - started
    compiling = re.search(r"(?:(\d+)m )?(\d+)s compiling", done.stdout)
    assert compiling, done.stdout
    return {"seconds": took, "compile_seconds": 60.0 * int(compiling[1] or 0) + int(compiling[2])}


def line(record: dict[str, Any]) -> str:
    """What a person reads."""
    pairs = record["starts"]
    ratios = [second["seconds"] / first["seconds"] for first, second in pairs]
    middle = lambda which, name: statistics.median(pair[which][name] for pair in pairs)
    return (
        f"{record['config']}, {record['rounds']} rounds: first start {middle(0, 'seconds'):.1f}s "
        f"({middle(0, 'compile_seconds'):.0f}s of it compiling), second {middle(1, 'seconds'):.1f}s "
        f"({middle(1, 'compile_seconds'):.0f}s), ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} - {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
