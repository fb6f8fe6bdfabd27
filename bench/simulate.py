"""`nigt simulate` as a whole process, beside a process that only begins to use JAX; and rounds of a million workers.

Run `python bench/simulate.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import jax

from nigt_jax.clocks import make_clock
from nigt_jax.config import Config, load_config
from nigt_jax.methods import METHODS, Rounds
from nigt_jax.simulation._play import play

ROOT = Path(__file__).parent.parent
SCHEDULES = {name: cast(Rounds, METHODS[f"{name}_nigt"].rounds) for name in ("rennala", "malenia")}
BARE = "import jax; jax.numpy.zeros(1) + 1"


def main() -> None:
    """Measures processes, then rounds, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "default.yaml")
    parser.add_argument("--turns", type=int, default=5, help="of a bare process, a first start and a second one")
    parser.add_argument("--workers", type=int, default=10**6, help="of the rounds")
    parser.add_argument("--batch-size", type=int, default=10**7, help="of the rounds")
    parser.add_argument("--rounds", type=int, default=4, help="in a turn of each schedule")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    record: dict[str, Any] = {"jax": jax.__version__, "cores": os.cpu_count(), "config": args.config.name}
    record["processes"] = processes(args)
    print(line(record["processes"]), flush=True)
    config = load_config(args.config, {"workers.count": str(args.workers), "method.batch_size": str(args.batch_size)})
    jax.config.update("jax_platforms", "cpu")
    record |= {"workers": args.workers, "batch_size": args.batch_size, "seconds_a_round": {}}
    for name in SCHEDULES:
        took = seconds_a_round(config, name, args)
        record["seconds_a_round"][name] = took
        print(
            f"{name}: {args.workers:,} workers, M = {args.batch_size:,}: {statistics.median(took):.2f} s a round "
            f"({min(took):.2f} - {max(took):.2f})",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


def processes(args: argparse.Namespace) -> list[dict[str, float]]:
    """Seconds of a bare process, of a start with an empty cache, and of one after it; in turns."""
    turns = []
    for _ in range(args.turns):
        with tempfile.TemporaryDirectory() as folder:
            simulate = ["-m", "nigt_jax", "simulate", str(args.config), "--output", f"{folder}/runs"]
            turns.append(
                {
                    "bare": seconds(["-c", BARE], folder),
                    "cold": seconds(simulate, folder),
                    "warm": seconds(simulate, folder),
                }
            )
    return turns


def seconds(arguments: list[str], folder: str) -> float:
    """Of one process from its start to its end."""
    own = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=own | {"XDG_CACHE_HOME": f"{folder}/cache"},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - started


def seconds_a_round(config: Config, name: str, args: argparse.Namespace) -> list[float]:
    """Of rounds that are played one after the other, compiled before."""
    clock = make_clock(config.workers, 1, args.batch_size)
    once = lambda rounds: play(clock, (SCHEDULES[name],), 0, args.batch_size, rounds, config.seed)
    once(1)
    took = []
    for _ in range(args.turns):
        started = time.perf_counter()
        once(args.rounds)
        took.append((time.perf_counter() - started) / args.rounds)
    return took


def line(turns: list[dict[str, float]]) -> str:
    """What a person reads of the processes."""
    of = lambda way: statistics.median(turn[way] for turn in turns)
    ratios = {way: [turn[way] / turn["bare"] for turn in turns] for way in ("cold", "warm")}
    said = [
        f"{way} {of(way):.1f} s, x {statistics.median(ratio):.1f} ({min(ratio):.1f} - {max(ratio):.1f})"
        for way, ratio in ratios.items()
    ]
    return f"bare {of('bare'):.2f} s; " + "; ".join(said)


if __name__ == "__main__":
    main()
