"""What variance reduction is worth to agents that track a mean gradient, on random Markov decision processes.

`python bench/related/svrpg_tracking.py` prints a Markdown table, `--figure FILE.png` also draws the curves: against
rounds, each an exchange with both neighbours, and against the trajectories of an agent. Every line is the mean over
`--seeds` processes, each with rewards and episodes of its own.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.config.systems import NetworkConfig, ReductionConfig, SvrpgTrackingConfig, SystemTraining, TabularTask
from nigt_jax.related.svrpg_tracking import Mdp, SvrpgTracking, Tabular, random_mdp

SQUARED = "||grad J||^2 at the mean"
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no tracking, B = 15": ({"reduction": "none", "batch": 15}, {"tracking": False}),
    "tracking, B = 15": ({"reduction": "none", "batch": 15}, {}),
    "tracking, B = 5": ({"reduction": "none", "batch": 5}, {}),
    "tracking and SVRPG, N = 100, B = 5, m = 10": ({}, {}),
    "tracking and MDPGT's estimate, N = 100, B = 15": ({"reduction": "mdpgt", "batch": 15}, {}),
    "tracking, B = 100": ({"reduction": "none", "batch": 100}, {}),
}


def curves(config: SvrpgTrackingConfig, task: TabularTask, seeds: int) -> dict[str, np.ndarray]:
    """Squared gradient norm, disagreement and trajectories of each round; shape [seeds, rounds]."""

    def run(mdp: Mdp, key: Any) -> dict[str, Any]:
        system = SvrpgTracking(config, Tabular(task, mdp))
        one = lambda state, _: system.step(state)[::2]
        return jax.lax.scan(one, system.begin(key), length=config.training.iterations)[1]

    problems = [random_mdp(task, config.workers.count, seed) for seed in range(seeds)]
    mdps = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    found = jax.jit(jax.vmap(run))(mdps, jax.vmap(jax.random.key)(jnp.arange(seeds)))
    squared = jnp.square(found["gradient_norm"])
    wanted = {name: found[name] for name in ("disagreement", "trajectories", "largest_weight")}
    return {name: np.asarray(values) for name, values in (wanted | {SQUARED: squared}).items()}


def draw(results: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Both measures on both axes; running means over 20 rounds, averaged over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row")
    smooth = lambda x: np.convolve(x.mean(0), np.ones(20) / 20, mode="valid")
    for row, measure in enumerate((SQUARED, "disagreement")):
        for name, found in results.items():
            values = smooth(found[measure])
            spent = np.cumsum(found["trajectories"][0])[19:]
            axes[row, 0].plot(np.arange(20, 20 + values.size), values, label=name)
            axes[row, 1].plot(spent, values)
        axes[row, 0].set(yscale="log", ylabel=measure, xlabel="rounds (exchanges)")
        axes[row, 1].set(xscale="log", xlabel="trajectories of an agent")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs every row and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="random processes")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--figure", type=Path, help="also draw the curves into this file")
    args = parser.parse_args()
    results = {}
    print("| method | trajectories a round | squared gradient norm | disagreement | largest weight |")
    print("|---|---|---|---|---|")
    with jax.enable_x64(True):
        for name, (estimator, network) in ROWS.items():
            config = SvrpgTrackingConfig(
                estimator=ReductionConfig(**estimator),
                network=NetworkConfig(**network),
                training=SystemTraining(iterations=args.rounds),
            )
            found = results[name] = curves(config, TabularTask(), args.seeds)
            tail = {key: values[:, -args.rounds // 4 :].mean() for key, values in found.items()}
            print(
                f"| {name} | {found['trajectories'].mean():.1f} | {tail[SQUARED]:.1e} | "
                f"{tail['disagreement']:.1e} | {found['largest_weight'].max():.2f} |",
                flush=True,
            )
    if args.figure is not None:
        draw(results, args.figure)


if __name__ == "__main__":
    main()
