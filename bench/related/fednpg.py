"""FedNPG on graphs: how much of the optimum is missing, against iterations, with and without tracking.

``python bench/related/fednpg.py`` prints the table; ``--figure FILE.png`` draws the lines, too.
"""

import argparse
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from nigt_jax.config import check_system
from nigt_jax.records import read_metrics
from nigt_jax.related import train

ITERATIONS = 40
_RING = {"kind": "directed_ring", "weights": "even"}
LINES: dict[str, dict] = {
    "ring of 5": {"workers": {"count": 5}, "graph": _RING},
    "ring of 10": {"graph": _RING},
    "ring of 20": {"workers": {"count": 20}, "graph": _RING},
    "ring of 10, no tracking": {"graph": _RING, "method": {"tracking": False}},
    "10, each hears 3 of them, even weights": {"graph": {"kind": "random", "neighbours": 3, "weights": "even"}},
    "10, each hears 3 of them, random weights": {"graph": {"kind": "random", "neighbours": 3, "weights": "random"}},
    "10, everybody hears everybody": {"graph": {"kind": "complete", "weights": "even"}},
}


def line(given: dict, seed: int) -> list[dict]:
    """The records of one run."""
    common = {"system": "fednpg", "seed": seed, "evaluation": {"every": 1}, "training": {"iterations": ITERATIONS}}
    with tempfile.TemporaryDirectory() as folder:
        train(check_system(common | given), Path(folder) / "run")
        return read_metrics(Path(folder) / "run" / "metrics.jsonl")


def main() -> None:
    """Prints the table, and draws the figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    parser.add_argument("--seed", type=int, default=0, help="of the path through the grid (default: 0)")
    arguments = parser.parse_args()
    print(f"| graph | gap after 5 | after 10 | after {ITERATIONS} | disagreement | tracking error |")
    print("|---|---|---|---|---|---|", flush=True)
    found = {}
    for name, given in LINES.items():
        records = found[name] = line(given, arguments.seed)
        gaps = " | ".join(f"{records[k]['gap']:.2g}" for k in (5, 10, ITERATIONS))
        last = records[-1]
        print(f"| {name} | {gaps} | {last['disagreement']:.2g} | {last['tracking_error']:.2g} |", flush=True)
    if arguments.figure is not None:
        draw(found, arguments.figure)


def draw(found: dict[str, list[dict]], file: Path) -> None:
    """The gap of every line against iterations."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, records) in enumerate(found.items()):
        style = ("-", "--", "-.", ":")[number % 4]
        axes.plot([r["iteration"] for r in records], [max(r["gap"], 1e-12) for r in records], style, label=name)
    axes.set(yscale="log", xlabel="iterations", ylabel="part of the optimum that is missing")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
