"""What variance reduction is worth to agents that track a mean gradient, on random Markov decision processes.

`python bench/related/svrpg_tracking.py` prints two Markdown tables: what a correction leaves of an episode's variance,
by the distance from the snapshot, and what that does in 400 rounds. `--figure FILE.png` also draws the curves of the
second: against rounds, each an exchange with both neighbours, and against the trajectories of an agent. Every line is
the mean over `--seeds` processes, each with rewards and episodes of its own.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.config.systems import NetworkConfig, ReductionConfig, SvrpgTrackingConfig, SystemTraining, TabularTask
from nigt_jax.related.svrpg_tracking import (
    Mdp,
    SvrpgTracking,
    Tabular,
    coefficients,
    density_weights,
    random_mdp,
)

SQUARED = "||grad J||^2 at the mean"
DISTANCES = (0, 0.03, 0.1, 0.3, 1, 2)
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


def variance_left(task: TabularTask, distance: float, seed: int, episodes: int = 20_000) -> float:
    """Var(g - g_w(ref)) / Var(g) of an episode; ref is so far from the policy that played it, in a random direction."""
    mdp = random_mdp(task, 1, seed)
    world, there = Tabular(task, mdp), jnp.ones(1, bool)
    here, direction = jax.random.normal(jax.random.key(seed), (2, *mdp.rewards.shape))
    ref = here + distance * direction / jnp.linalg.norm(direction)

    def one(key: Any) -> tuple[Any, Any]:
        played = world.play(here, key, there)
        weights, *_ = density_weights(world.log_ratio(here, ref, played), True, None)
        factors = [coefficients(played.reward, w, there, task.discount, False) for w in (None, weights)]
        return world.score_sum(here, played, factors[0]), world.score_sum(ref, played, factors[1])

    plain, other = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed + 1), episodes))
    return float((plain - other).var(0).sum() / plain.var(0).sum())


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
    results, task = {}, TabularTask()
    print("| distance from the snapshot | variance left | over its square |\n|---|---|---|")
    with jax.enable_x64(True):
        for distance in DISTANCES:
            left = np.mean([variance_left(task, distance, seed) for seed in range(args.seeds)])
            print(f"| {distance:g} | {left:.1e} | {left / distance**2:.2f} |" if distance else f"| 0 | {left:g} | |")
    print("\n| method | trajectories a round | squared gradient norm | disagreement | largest weight |")
    print("|---|---|---|---|---|")
    with jax.enable_x64(True):
        for name, (estimator, network) in ROWS.items():
            config = SvrpgTrackingConfig(
                estimator=ReductionConfig(**estimator),
                network=NetworkConfig(**network),
                training=SystemTraining(iterations=args.rounds),
            )
            found = results[name] = curves(config, task, args.seeds)
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
