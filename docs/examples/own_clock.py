"""Workers from what was measured: recorded times of gradients, in a CSV, become the simulated clock.

`nigt simulate recorded.csv` answers which method, and which M, suits them.
"""

import csv
import random

from own_environment import Docking  # the file beside this one

import nigt_jax


def record(path, workers=8, gradients=50):
    """Stands for your own measurements: a row for every gradient. One worker is slow, another one fails at times."""
    draw = random.Random(0)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["worker", "duration"])
        for worker in range(1, workers + 1):
            for _ in range(gradients):
                slow = 5.0 if worker == 1 else 1.0
                stuck = 30.0 if worker == 2 and draw.random() < 0.1 else 0.0
                rows.writerow([worker, slow * draw.uniform(0.8, 1.2) + stuck])


def main():
    """The same 30 updates by two methods: the numbers that were learnt from are as many, the time is not."""
    record("recorded.csv")
    for method in ("rennala_nigt", "synchronous_nigt"):
        settings = {"environment.horizon": 60, "policy.hidden_sizes": [16], "training.devices": 1}
        settings |= {
            "workers.trace": "recorded.csv",
            "workers.count": 8,
            "method.name": method,
            "method.batch_size": 16,
        }
        config = nigt_jax.load_config(overrides=settings | {"training.iterations": 30})
        summary = nigt_jax.train(config, f"runs/{method}", environment=Docking())
        print(
            f"{method}: {summary.totals.gradients} gradients in {summary.simulated_time:.0f} seconds of the recording"
        )


if __name__ == "__main__":
    main()
