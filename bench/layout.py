"""What packing saves: rounds with training.layout packed beside masked, the literal form, in one interleaved run.

Run `python bench/layout.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nigt_jax.benchmark import in_words, machine
from nigt_jax.clocks import make_clock, play_round, rennala_rule
from nigt_jax.config import Config, check_config
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu

WORKERS, BATCH_SIZE = 10, 20
CASES: dict[str, dict[str, Any]] = {
    "equal speeds": {"compute_time": {"worker_exponent": 0}},
    "h_i = sqrt(i)": {},
    "heavy tail": {"compute_time": {"worker_exponent": 0}, "noise": {"family": "pareto", "shape": 1.1}},
    "half of them gone": {
        "compute_time": {"worker_exponent": 0},
        "speed": {"changes": [{"workers": [6, 7, 8, 9, 10], "start": 0.5}]},
    },
}
LAYOUTS = ("packed", "masked")


@dataclasses.dataclass
class Contender:
    """A compiled run of one layout; every turn plays its first rounds once more."""

    runtime: SimulatedRuntime
    rounds: int
    metrics: Any = None

    def seconds(self) -> float:
        """Seconds a round."""
        state = jax.block_until_ready(self.runtime.initial_state())
        start = time.perf_counter()
        _, self.metrics = self.runtime.run(state, self.rounds)
        return (time.perf_counter() - start) / self.rounds


def main() -> None:
    """Measures every kind of workers and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="inverted_pendulum", help="Brax environment, on spring")
    parser.add_argument("--horizon", type=int, default=100, help="steps of an episode")
    parser.add_argument("--length", type=int, default=10, help="rounds of training in one turn")
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which every contender has one turn")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    configs = {name: configure(args, workers) for name, workers in CASES.items()}
    contenders = {name: {layout: contender(config, layout) for layout in LAYOUTS} for name, config in configs.items()}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(args.rounds + 1):
        for name, both in contenders.items():
            times[name].append({layout: one.seconds() for layout, one in both.items()})
    here = machine(jax.devices())
    print(f"{in_words(here)}; {args.rounds} rounds, {args.environment}, {args.horizon} steps\n")
    print(f"{'workers':18} {'packed':>9} {'masked':>9} {'ratio':>6} {'quartiles':>11}", end="")
    print(f" {'counted':>8} {'begun':>6} {'places':>7} {'difference':>11}")
    records = []
    for name, config in configs.items():
        figures = ratios(times[name][1:]) | episodes(config, contenders[name], args.length)  # the first round warms up
        records.append(here | {"workers": name} | figures)
        print(row(records[-1]))
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def configure(args: argparse.Namespace, workers: dict[str, Any]) -> Config:
    """A run of Rennala NIGT, of an estimator that looks at one episode at a time."""
    return check_config(
        {
            "environment": {"name": args.environment, "backend": "spring", "horizon": args.horizon},
            "estimator": {"name": "return_to_go"},
            "method": {"name": "rennala_nigt", "batch_size": BATCH_SIZE},
            "workers": {"count": WORKERS} | workers,
            "training": {"chunk": args.length},
            "evaluation": {"episodes": 1},
        }
    )


def contender(config: Config, layout: str) -> Contender:
    """Compiles a run with this layout."""
    training = dataclasses.replace(config.training, layout=layout)  # type: ignore[arg-type]
    runtime = SimulatedRuntime(dataclasses.replace(config, training=training))
    runtime.compile()
    return Contender(runtime, training.chunk)


def ratios(times: list[dict[str, float]]) -> dict[str, Any]:
    """Medians, and the quartiles of the ratios within each round."""
    low, middle, high = statistics.quantiles([t["masked"] / t["packed"] for t in times], n=4)
    seconds = {f"{layout}_seconds": statistics.median(t[layout] for t in times) for layout in LAYOUTS}
    return seconds | {"ratio": middle, "quartiles": [low, high]}


def episodes(config: Config, both: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """Means of what a round counts, what workers begin, and the rectangle that holds it; and whether layouts agree."""
    clock, rule = make_clock(config.workers, 1, BATCH_SIZE), rennala_rule(BATCH_SIZE, WORKERS)
    clocks = jax.device_get(both["packed"].runtime.initial_state().clock)
    play, state, played = jax.jit(play_round), jax.tree.map(lambda x: x[0], clocks), []
    for _ in range(rounds):
        round, state = play(clock, rule, state)
        played.append((round.counts, round.counts + round.discarded))
    counted, begun = (np.array(x) for x in zip(*played, strict=True))
    packed, masked = (both[layout].metrics for layout in LAYOUTS)
    for name in ("gradients", "discarded"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(masked, name))
    norms = packed.gradient_norm, masked.gradient_norm
    return {
        "counted": float(counted.sum(axis=1).mean()),
        "begun": float(begun.sum(axis=1).mean()),
        "places": float(begun.max(axis=1).mean() * WORKERS),
        "difference": float(np.max(np.abs(norms[0] / norms[1] - 1))),
    }


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    low, high = record["quartiles"]
    return (
        f"{record['workers']:18} {1e3 * record['packed_seconds']:6.2f} ms {1e3 * record['masked_seconds']:6.2f} ms "
        f"{record['ratio']:6.2f} {low:5.2f}-{high:5.2f} {record['counted']:8.1f} {record['begun']:6.1f} "
        f"{record['places']:7.1f} {record['difference']:11.1e}"
    )


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
