"""What a round costs on many accelerators: a model on paper. Its assumptions are the constants below.

`python bench/scaling.py --model` prints the tables; docs/scaling.md says what they mean and what they leave out.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from nigt_jax.config import check_config
from nigt_jax.simulation import compare

ACCELERATORS = (8, 64, 1024)
PARAMETERS, HORIZON, OBSERVATION = 5318, 200, 11  # of configs/default.yaml, the hopper
# Measured, by reading the compiled program: the bytes of each separate all-reduce in a round of it. What the metrics
# sum once a chunk is left out.
EXCHANGES = {
    "gradient, weight": 4 * (PARAMETERS + 1),
    "baseline, number and mean of the observations": 4 * (HORIZON + 1 + 1 + OBSERVATION),
    "their variance": 4 * OBSERVATION,
}
# Assumed, and to be replaced by what a machine at hand does.
STEPS_A_SECOND = 1e6  # of an accelerator that is full, physics and gradient together
STEP_SECONDS = 2e-4  # of one step of however few lanes: what starting its kernels takes
EPISODES = 1024  # that an accelerator plays side by side for one gradient
ROUNDS = 200


@dataclasses.dataclass(frozen=True)
class Network:
    """What connects accelerators.

    Attributes:
      name: of it.
      bandwidth: bytes a second that an accelerator sends while it receives as many.
      latency: seconds of one message, however small.
    """

    name: str
    bandwidth: float
    latency: float

    def all_reduce(self, size: float, accelerators: int, hops: str = "tree") -> float:
        """Seconds: 2(D - 1)/D of the bytes through everyone's link, in 2(D - 1) or 2 log2(D) messages."""
        messages = {"ring": accelerators - 1, "tree": math.ceil(math.log2(accelerators))}[hops]
        return 2 * messages * self.latency + 2 * (accelerators - 1) / accelerators * size / self.bandwidth


NVLINK = Network("NVLink", 450e9, 2e-6)
INFINIBAND = Network("InfiniBand", 50e9, 5e-6)
NETWORKS = {8: NVLINK, 64: INFINIBAND, 1024: INFINIBAND}

# How long workers take for a gradient; the unit is h, the mean of one that is not slowed down.
STRAGGLERS: dict[str, dict[str, Any]] = {
    "equal": {},
    "lognormal, sigma 0.5": {"noise": {"family": "lognormal", "shape": 0.5}},
    "one in 8 half as fast": {"speed": lambda some: {"changes": [{"workers": some, "factor": 0.5}]}},
    "one in 8 away for 10 h in 100 h": {
        "speed": lambda some: {"period": 100, "changes": [{"workers": some, "start": 45, "end": 55}]}
    },
    "one in 8 gone": {"speed": lambda some: {"changes": [{"workers": some}]}},
}


def show() -> list[dict[str, Any]]:
    """Prints all tables, and returns what they say."""
    parts = (collecting, exchanging, straggling)
    return [record for part in parts for record in part()]


def gradient_seconds(episodes: float) -> float:
    """Of a gradient of so many episodes, side by side on one accelerator: their steps follow each other."""
    return HORIZON * max(STEP_SECONDS, episodes / STEPS_A_SECOND)


def exchange_seconds(accelerators: int, sizes: Iterable[float], hops: str = "tree") -> float:
    """Of separate all-reduces, one after the other."""
    return sum(NETWORKS[accelerators].all_reduce(size, accelerators, hops) for size in sizes)


def collecting() -> list[dict[str, Any]]:
    """Equal accelerators that wait for nobody: a round of fixed size (strong scaling), and of fixed shares (weak)."""
    _head("Strong and weak scaling, equal accelerators: ms a round, and of the ideal", "episodes a round")
    rounds = {"50": lambda d: 50, "65,536": lambda d: 65_536, f"{EPISODES:,} each": lambda d: EPISODES * d}
    records = []
    for name, episodes in rounds.items():
        cells = []
        for d in ACCELERATORS:
            # Where there are fewer episodes than accelerators, some have none and wait.
            share = math.ceil(episodes(d) / d)
            seconds = gradient_seconds(share) + exchange_seconds(d, EXCHANGES.values())
            ideal = HORIZON * episodes(d) / d / STEPS_A_SECOND
            cells.append(f"{1e3 * seconds:,.1f} ({ideal / seconds:.1%})")
            records.append({"episodes": name, "accelerators": d, "seconds": seconds, "efficiency": ideal / seconds})
        print(f"| {name} | {' | '.join(cells)} |")
    return records


def exchanging() -> list[dict[str, Any]]:
    """AllReduces of a round as it is, as one, and as one of a larger policy."""
    _head("Exchanges: microseconds a round, ring / tree", "what")
    together = sum(EXCHANGES.values())
    what: dict[str, list[float]] = {
        f"as compiled: {len(EXCHANGES)} all-reduces, {together:,} bytes": list(EXCHANGES.values()),
        f"all in one: {together:,} bytes": [together],
        f"the least: 4(d + 1) = {4 * (PARAMETERS + 1):,} bytes": [4 * (PARAMETERS + 1)],
        "the least for d = 10^6": [4 * (1e6 + 1)],
        "the least for d = 10^8": [4 * (1e8 + 1)],
    }
    records = []
    for name, sizes in what.items():
        cells = []
        for d in ACCELERATORS:
            times = {hops: exchange_seconds(d, sizes, hops) for hops in ("ring", "tree")}
            cells.append(" / ".join(f"{1e6 * seconds:,.0f}" for seconds in times.values()))
            records.append({"exchange": name, "accelerators": d} | times)
        print(f"| {name} | {' | '.join(cells)} |")
    return records


def straggling() -> list[dict[str, Any]]:
    """Rennala against synchronous where an accelerator is a worker: what waiting for others costs."""
    h = gradient_seconds(EPISODES)
    title = f"Stragglers: time of a round in h = {1e3 * h:.0f} ms, synchronous / Rennala (of the ideal, each)"
    _head(title, "workers | M")
    records = []
    for name, workers in STRAGGLERS.items():
        played = {d: _play(d, workers, exchange_seconds(d, EXCHANGES.values()) / h) for d in ACCELERATORS}
        for each in (1, 4):
            cells = []
            for d in ACCELERATORS:
                times = {rule: played[d][rule][each * d].round_time for rule in ("synchronous", "rennala")}
                part = {rule: each / time if time else 0.0 for rule, time in times.items()}
                cells.append(" / ".join(f"{t:.2f} ({part[rule]:.0%})" if t else "never" for rule, t in times.items()))
                lost = played[d]["rennala"][each * d].discarded_fraction
                case = {"workers": name, "accelerators": d, "batch_size": each * d}
                records.append(case | {"round_in_h": times, "efficiency": part, "discarded_by_rennala": lost})
            print(f"| {name} | {'D' if each == 1 else f'{each} D'} | {' | '.join(cells)} |")
    return records


def _play(accelerators: int, workers: dict[str, Any], exchange: float) -> dict[str, dict[int, Any]]:
    """Figures of round-based methods with M = D and M = 4 D, by name and M; an exchange takes so many h."""
    slow = list(range(1, accelerators // 8 + 1))
    config = {
        "method": {"name": "rennala_nigt", "batch_size": accelerators},
        "workers": {
            "count": accelerators,
            "compute_time": {"worker_exponent": 0},
            "communication_time": {"worker_exponent": 0, "scale": exchange},
            "topology": "allreduce",
        }
        | {key: value(slow) if callable(value) else value for key, value in workers.items()},
    }
    return compare(check_config(config), ROUNDS, batch_sizes=(4 * accelerators,)).by_batch_size


def _head(title: str, first: str) -> None:
    columns = " | ".join(f"D = {d:,}, {NETWORKS[d].name}" for d in ACCELERATORS)
    print(f"\n{title}\n\n| {first} | {columns} |\n|{'---|' * (len(ACCELERATORS) + 1 + first.count('|'))}")
