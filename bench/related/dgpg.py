"""Descent-guided policy gradient: the variance of both estimators, and returns beside MAPPO, IPPO, greedy and random.

`python bench/related/dgpg.py` prints two Markdown tables; docs/related/dgpg.md has those of one machine. ``--figure
FILE.png`` draws both. The seeds of an algorithm learn in one program. All play the same tasks in evaluations.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from nigt_jax.compilation import compile_options
from nigt_jax.config.systems import CloudConfig, DgpgConfig, DgpgMethod, DgpgTraining, agents
from nigt_jax.related.dgpg import Dgpg
from nigt_jax.related.dgpg.variance import measure, unit_game

ALGORITHMS = ("dgpg", "mappo", "ippo")


def main() -> None:
    """Measures what the options ask for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, nargs="*", default=[5, 20, 80, 320], help="agents of the one-step game")
    parser.add_argument("--samples", type=int, default=8192, help="joint actions that a variance is measured with")
    parser.add_argument("--agents", type=int, nargs="*", default=[5], help="agents that learn")
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--updates", type=int, nargs="+", default=[5, 20, 80], help="after which they are evaluated")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--load", type=float, default=CloudConfig().load)
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    args = parser.parse_args()
    measured = variances(args.games, args.samples) if args.games else {}
    learnt = {count: learning(count, args) for count in args.agents}
    if args.figure is not None:
        draw(measured, learnt, args)


def variances(games: list[int], samples: int) -> dict[int, tuple[float, float]]:
    """Total variance of one agent's gradient, measured and in closed form."""
    measured, found = jax.jit(measure, static_argnums=2), {}
    print("| agents | shared cost | (N-1)^3 / 2N^2 | guidance | ((N-1)/N)^3 |\n|---|---|---|---|---|")
    for n in games:
        shared, guidance = measured(unit_game(n), jax.random.key(n), samples)
        found[n] = float(shared), float(guidance)
        exact = (n - 1) ** 3 / (2 * n**2), ((n - 1) / n) ** 3
        print(f"| {n} | {float(shared):.3g} | {exact[0]:.3g} | {float(guidance):.3g} | {exact[1]:.3g} |")
    print()
    return found


def learning(count: int, args: argparse.Namespace) -> dict[str, list[np.ndarray]]:
    """Returns of the algorithms after so many updates: the median of the seeds, the worst and the best of them."""
    stops = sorted(args.updates)
    print(f"{count} agents, load {args.load:g}, {args.seeds} seeds: median (worst, best)\n")
    print("| | " + " | ".join(f"{k} updates" for k in stops) + " | s |\n|---|" + "---|" * (len(stops) + 1))
    evaluation: dict[str, Any] = {}
    every: dict[str, list[np.ndarray]] = {}
    for algorithm in args.algorithms:
        start, cells = time.perf_counter(), []
        for evaluation in returns(config(count, algorithm, stops[-1], args.load), stops, args.seeds):
            found = evaluation["return_mean"]
            every.setdefault(algorithm, []).append(found)
            cells.append(f"{np.median(found):.4g} ({found.min():.4g}, {found.max():.4g})")
        print(f"| {algorithm} | " + " | ".join(cells) + f" | {time.perf_counter() - start:.0f} |", flush=True)
    for rival in ("greedy", "random"):
        every[rival] = [evaluation[f"{rival}_return"][:1]] * len(stops)
        print(f"| {rival} |" + f" {every[rival][0][0]:.4g} |" * len(stops) + " |")
    print()
    return every


def draw(variances: dict[int, tuple[float, float]], learnt: dict[int, Any], args: argparse.Namespace) -> None:
    """Variances against agents, and the cost of every algorithm against updates."""
    figure = Figure(figsize=(4.2 * (1 + len(learnt)), 3.4), layout="constrained")
    axes = figure.add_subplot(1, 1 + len(learnt), 1)
    for place, name in enumerate(("shared cost", "guidance")):
        axes.loglog(list(variances), [both[place] for both in variances.values()], "o-", label=name)
    axes.set(xlabel="agents", ylabel="variance of one agent's gradient", title="one step")
    axes.legend(frameon=False)
    for place, (count, every) in enumerate(learnt.items(), start=2):
        axes = figure.add_subplot(1, 1 + len(learnt), place)
        for name, found in every.items():
            low, middle, high = np.array([np.quantile(-values, (0, 0.5, 1)) for values in found]).T
            (line,) = axes.loglog(sorted(args.updates), middle, "o-", label=name)
            axes.fill_between(sorted(args.updates), low, high, color=line.get_color(), alpha=0.2)
        axes.set(xlabel="updates", ylabel="cost of an episode", title=f"{count} agents")
        axes.set_xticks(sorted(args.updates), map(str, sorted(args.updates)))
        axes.minorticks_off()
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(args.figure, dpi=150)


def config(count: int, algorithm: Any, updates: int, load: float) -> DgpgConfig:
    """What one of them learns with; all else is the default."""
    return DgpgConfig(
        workers=agents(count),
        environment=CloudConfig(load=load),
        method=DgpgMethod(algorithm=algorithm, guidance_updates=updates),
        training=DgpgTraining(iterations=updates),
    )


def returns(settings: DgpgConfig, stops: list[int], seeds: int) -> Any:
    """An evaluation of all seeds after each of so many updates."""
    system, keys = Dgpg(settings), jax.random.split(jax.random.key(settings.seed), seeds)
    options = compile_options(jax.default_backend())
    states = jax.jit(jax.vmap(system.begin))(keys)

    def updates(states: Any, number: Any) -> Any:
        return jax.lax.fori_loop(0, number, lambda _, now: jax.vmap(lambda s: system.step(s)[0])(now), states)

    go_on = jax.jit(updates).lower(states, np.int32(0)).compile(compiler_options=options)
    evaluate = jax.jit(jax.vmap(system.evaluate)).lower(states).compile(compiler_options=options)
    for before, after in zip([0, *stops], stops, strict=False):
        states = go_on(states, np.int32(after - before))
        yield jax.device_get(evaluate(states))


if __name__ == "__main__":
    main()
