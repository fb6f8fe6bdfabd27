"""What REC-MARL's critics are good for: returns by whose critics policies climb, beside the best of simpler rules.

`python bench/related/rec_marl.py` prints two Markdown tables, with the mean over seeds and the least and the largest;
``--figure FILE.png`` draws every seed, too.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from nigt_jax.config.systems import RecMarlAccessConfig, RecMarlPowerConfig
from nigt_jax.related.rec_marl import RecMarlAccess, RecMarlPower

CRITICS = ("neighbours", "own", "all")


def learn(system: RecMarlAccess | RecMarlPower) -> dict[str, float]:
    """What an evaluation measures after all iterations."""

    def run(state: Any) -> Any:
        one = lambda state, _: (system.step(state)[0], None)
        return system.evaluate(jax.lax.scan(one, state, None, length=system.config.training.iterations)[0])

    measured = jax.jit(run)(system.begin(jax.random.key(system.config.seed)))
    return {name: float(value) for name, value in measured.items()}


def with_critics(config: Any, critics: str, seed: int) -> Any:
    """The same configuration of another seed, whose policies climb these critics."""
    return dataclasses.replace(config, seed=seed, method=dataclasses.replace(config.method, critics=critics))


def access(seeds: int) -> dict[str, list[float]]:
    """Returns of users, by rule, of every seed."""
    found: dict[str, list[float]] = {name: [] for name in (*CRITICS, "best ALOHA")}
    for seed in range(seeds):
        for critics in CRITICS:
            system = RecMarlAccess(with_critics(RecMarlAccessConfig(), critics, seed))
            found[critics].append(learn(system)["return_mean"])
        found["best ALOHA"].append(system.aloha.value)
    return found


def power(seeds: int) -> dict[str, list[float]]:
    """Returns of links, by rule, of every seed."""
    found: dict[str, list[float]] = {name: [] for name in (*CRITICS, "best levels", "equilibrium")}
    for seed in range(seeds):
        for critics in CRITICS:
            system = RecMarlPower(with_critics(RecMarlPowerConfig(), critics, seed))
            found[critics].append(learn(system)["return_mean"])
        found["best levels"].append(system.best)
        found["equilibrium"].append(np.nan if system.selfish is None else system.selfish)
    return found


def show(title: str, found: dict[str, list[float]], reference: str) -> None:
    """A table, with every return beside that of a reference of the same seed."""
    print(f"\n{title}\n\n| rule | return | least | largest | of {reference}: mean | least | largest |\n|{'---|' * 7}")
    for name, values in found.items():
        ratios = np.array(values) / np.array(found[reference])
        returns = " | ".join(f"{x:.3f}" for x in (np.mean(values), min(values), max(values)))
        print(
            f"| {name} | {returns} | " + " | ".join(f"{x:.1%}" for x in (ratios.mean(), ratios.min(), ratios.max())),
            "|",
        )


def draw(panels: dict[str, tuple[dict[str, list[float]], str]], file: Path) -> None:
    """A point for every rule and seed, in parts of the reference of the same seed."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for place, (title, (found, reference)) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        for row, values in enumerate(found.values()):
            axes.plot(np.array(values) / np.array(found[reference]), np.full(len(values), row), "o", alpha=0.7)
        axes.axvline(1, color="grey", linewidth=1, linestyle=":")
        axes.set_yticks(range(len(found)), list(found))
        axes.set(title=title, xlabel=f"return, in parts of that of {reference}")
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Runs all and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="problems that are drawn and learnt")
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    start = time.perf_counter()
    panels = {
        "access control": (access(arguments.seeds), "best ALOHA"),
        "power control": (power(arguments.seeds), "best levels"),
    }
    for title, (found, reference) in panels.items():
        show(f"{title.capitalize()}: discounted return of an agent", found, reference)
    if arguments.figure is not None:
        draw(panels, arguments.figure)
    print(f"\n{arguments.seeds} seeds, {time.perf_counter() - start:.0f} s on {jax.devices()[0].device_kind}")


if __name__ == "__main__":
    main()
