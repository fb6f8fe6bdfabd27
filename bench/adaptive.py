"""Whether the adaptive NIGT of Cutkosky & Mehta (2020, section 5) earns its keep: nigt beside it on three problems.

Run `python bench/adaptive.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import nigt_jax
from nigt_jax.benchmark import in_words, machine
from nigt_jax.transforms import implicit_gradient_transport, normalized_momentum, tree_norm

C = 7**0.5  # the paper's constant, from which its other one follows
D = C ** (-14 / 3)

HALF_DECADES = 10.0 ** np.arange(-2, 2.1, 0.5)
RATES = 0.01 * HALF_DECADES
MOMENTA = (0.9, 0.97, 0.99, 0.997, 0.999, 0.9997)
SCALES = HALF_DECADES  # a of the schedule: its steps add up to about 17 a over 10,000
DECAYS = (0.1, 0.3, 1.0)  # e of the schedule
SAME = (1.0, 1.0)  # the problem's own units
UNITS = {"objective x 10": (10.0, 1.0), "objective / 10": (0.1, 1.0)}
UNITS |= {"parameters x 10": (1.0, 10.0), "parameters / 10": (1.0, 0.1)}
WRONG = {"x 10": 10.0, "/ 10": 0.1}

Setting = tuple[float, ...]  # the hyperparameters of a contender, then the units of the objective and the parameters


class AdaptiveState(NamedTuple):
    """State of :func:`adaptive_nigt`; its G follows from it."""

    count: jax.Array  # type: ignore[assignment]  # int32[]; shadows tuple.count, as optax's own states do
    squares: jax.Array  # float[], the sum of |g_t - g'_t|^2
    alpha: jax.Array  # float[], the weight that the next gradient will have
    inner: Any  # of nigt


class ReleasedState(NamedTuple):
    """State of :func:`released_nigt`."""

    count: jax.Array  # type: ignore[assignment]  # int32[]
    norms: jax.Array  # float[], the sum of |g_t|
    largest: jax.Array  # float[], the largest |g_t|
    inner: Any  # of nigt


class Problem(NamedTuple):
    """What is minimised, its parameters a vector. The draws are made ahead, so that all contenders meet the same."""

    start: Callable[[jax.Array], jax.Array]  # of a key
    draw: Callable[[jax.Array], jax.Array]  # of a key: what makes a gradient stochastic
    gradient: Callable[[jax.Array, jax.Array], jax.Array]  # of parameters and a draw
    true_gradient: Callable[[jax.Array], jax.Array]  # of parameters


class Runs(NamedTuple):
    """What every contender is given, a row for each seed."""

    starts: jax.Array
    draws: jax.Array  # [seed, gradient evaluation, ...]


def adaptive_nigt(
    bound: float | jax.Array, share: float | jax.Array = 0.0, *, dtype: Any = jnp.float32
) -> optax.GradientTransformationExtraArgs:
    r"""Algorithm 2 of Cutkosky & Mehta, as we read it: ``update(g, state, params, other=g')``.

    .. math::
        \eta_t = C / (G_t^2 (t+1)^3)^{1/7}, \quad \alpha_{t+1} = 1 / ((t+1)\, \eta_t^2 G_t), \quad
        G_t = D + g^2 (2 + t^{1/4}) + \sum_{s<t} \|g_s - g'_s\|^2

    and between them nigt's update, of momentum :math:`1 - \alpha_t` and step :math:`\eta_t`. The algorithm adds
    :math:`g^2 ((t+1)^{1/4} - t^{1/4})` to G at every step, a difference that float32 would blur; here it is summed.

    Args:
      bound: g, the bound on the norm of a gradient.
      share: the weight of g' in the step, where the paper has 0. Half makes it the mean of both.
      dtype: of the scalars.
    """

    def init(params: optax.Params) -> AdaptiveState:
        zero, one = jnp.zeros([], dtype), jnp.ones([], dtype)  # D is such that the first alpha is 1
        return AdaptiveState(jnp.zeros([], jnp.int32), zero, one, nigt_jax.nigt(0.0).init(params))

    def update(
        updates: optax.Updates, state: AdaptiveState, params: optax.Params | None = None, *, other: optax.Updates
    ) -> tuple[optax.Updates, AdaptiveState]:
        count = optax.safe_increment(state.count)
        t = count.astype(dtype)
        total = D + bound**2 * (2 + t ** (1 / 4)) + state.squares
        eta = C * total ** (-2 / 7) * (t + 1) ** (-3 / 7)  # G^2 (t+1)^3 itself may overflow float32
        alpha = 1 / ((t + 1) * eta**2 * total)
        differences = jax.tree.map(jnp.subtract, other, updates)
        direction = jax.tree.map(lambda g, d: g + share * d, updates, differences)
        nigt = implicit_gradient_transport(normalized_momentum(eta, 1 - state.alpha), 1 - alpha)
        moves, inner = nigt.update(direction, state.inner, params)
        return moves, AdaptiveState(count, state.squares + tree_norm(differences) ** 2, alpha, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def released_nigt(constant: float | jax.Array, *, dtype: Any = jnp.float32) -> optax.GradientTransformation:
    r"""The step size and weight of the authors' released code, which sees one gradient a step and knows no bound.

    .. math::
        G_t = \sum_{s \le t} \|g_s\| + t^{1/4} \max_{s \le t} \|g_s\|, \quad \eta_t = C / (G_t^2 t^3)^{1/7}, \quad
        \alpha_t = \min(1, 1 / (t\, \eta_t^2 G_t))

    C is the learning rate there, G belongs to one array, and the step along an array is of a length in proportion to
    its own unless that is switched off. Here G and the norm are those of the whole tree. The momentum starts at the
    first gradient instead of at zero.

    Args:
      constant: C.
      dtype: of the scalars.

    References:
      https://github.com/google-research/google-research/blob/master/nigt_optimizer/nigt_optimizer.py
    """

    def init(params: optax.Params) -> ReleasedState:
        zero = jnp.zeros([], dtype)
        return ReleasedState(jnp.zeros([], jnp.int32), zero, zero, nigt_jax.nigt(0.0).init(params))

    def update(
        updates: optax.Updates, state: ReleasedState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ReleasedState]:
        count, norm = optax.safe_increment(state.count), tree_norm(updates)
        t = count.astype(dtype)
        norms, largest = state.norms + norm, jnp.maximum(state.largest, norm)
        total = norms + t ** (1 / 4) * largest
        eta = constant * total ** (-2 / 7) * t ** (-3 / 7)
        alpha = jnp.minimum(1, 1 / (t * eta**2 * total))
        nigt = implicit_gradient_transport(normalized_momentum(eta, 1 - alpha), 1 - alpha)
        moves, inner = nigt.update(updates, state.inner, params)
        return moves, ReleasedState(count, norms, largest, inner)

    return optax.GradientTransformation(init, update)


def scheduled_nigt(scale: jax.Array, decay: jax.Array) -> optax.GradientTransformationExtraArgs:
    """Nigt with the schedules of N-PG-IGT."""
    fraction = lambda k: 2 / (jnp.asarray(k, jnp.float32) + 2)
    return nigt_jax.nigt(lambda k: scale * fraction(k), lambda k: 1 - decay * fraction(k) ** 0.8)


def quadratic(noise: float, size: int = 100) -> Problem:
    """Curvatures from 0.001 to 1 and isotropic noise; no method here sees the basis, so the Hessian is diagonal."""
    curvature = jnp.logspace(-3, 0, size)
    return Problem(
        start=lambda key: jax.random.normal(key, (size,)),
        draw=lambda key: noise * jax.random.normal(key, (size,)),
        gradient=lambda x, draw: curvature * x + draw,
        true_gradient=lambda x: curvature * x,
    )


def network(examples: int = 512, inputs: int = 10, hidden: int = 16, batch: int = 8) -> Problem:
    """Least squares with a tanh layer, on targets that a larger network and noise made; stochastic by batches."""
    key_x, key_teacher, key_noise = jax.random.split(jax.random.key(0), 3)

    def made(key: jax.Array, width: int) -> dict[str, jax.Array]:
        first, second = jax.random.split(key)
        weights = jax.random.normal(first, (inputs, width)) / inputs**0.5
        return {"w": weights, "b": jnp.zeros((1, width)), "v": jax.random.normal(second, (width,)) / width**0.5}

    def output(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]

    restore = ravel_pytree(made(key_x, hidden))[1]
    x = jax.random.normal(key_x, (examples, inputs))
    y = 3 * output(made(key_teacher, 4 * hidden), x) + 0.3 * jax.random.normal(key_noise, (examples,))

    def loss(params: jax.Array, chosen: jax.Array) -> jax.Array:
        return jnp.mean((output(restore(params), x[chosen]) - y[chosen]) ** 2) / 2

    return Problem(
        start=lambda key: ravel_pytree(made(key, hidden))[0],
        draw=lambda key: jax.random.randint(key, (batch,), 0, examples),
        gradient=jax.grad(loss),
        true_gradient=lambda params: jax.grad(loss)(params, jnp.arange(examples)),
    )


def runs_of(problem: Problem, key: jax.Array, seeds: int, budget: int) -> Runs:
    """The starts and draws of `seeds` runs."""
    key_starts, key_draws = jax.random.split(key)
    starts = jax.jit(jax.vmap(problem.start))(jax.random.split(key_starts, seeds))
    draws = jax.jit(jax.vmap(jax.vmap(problem.draw)))(jax.random.split(key_draws, (seeds, budget)))
    return Runs(starts, draws)


def in_units(problem: Problem, objective: jax.Array, parameters: jax.Array) -> Problem:
    """The same problem with what is minimised, or every parameter, multiplied; what is reported is as before."""
    return problem._replace(
        gradient=lambda params, draw: objective / parameters * problem.gradient(params / parameters, draw),
        true_gradient=lambda params: problem.true_gradient(params / parameters),
    )


def final_norms(
    problem: Problem, make: Callable[..., Any], settings: list[Setting], runs: Runs, pairs: bool
) -> np.ndarray:
    """||grad F|| at the last iterate, a row for each setting and a column for each run; what overflowed is infinite."""

    def final(setting: jax.Array, start: jax.Array, draws: jax.Array) -> jax.Array:
        *hyperparameters, objective, parameters = setting
        tx, here = make(*hyperparameters), in_units(problem, objective, parameters)
        params = parameters * start

        def step(carry: Any, draw: jax.Array) -> tuple[Any, None]:
            params, state = carry
            if pairs:
                updates, other = here.gradient(params, draw[0]), here.gradient(params, draw[1])
                updates, state = tx.update(updates, state, params, other=other)
            else:
                updates, state = tx.update(here.gradient(params, draw), state, params)
            return (optax.apply_updates(params, updates), state), None

        draws = draws.reshape(-1, 2, *draws.shape[1:]) if pairs else draws
        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), draws)
        return tree_norm(here.true_gradient(nigt_jax.nigt_eval_params(state, params)))

    each = jax.vmap(jax.vmap(final, in_axes=(None, 0, 0)), in_axes=(0, None, None))
    norms = np.asarray(jax.jit(each)(jnp.asarray(settings), *runs))
    return np.where(np.isnan(norms), np.inf, norms)


def bound_of(problem: Problem, runs: Runs, draws: int = 64) -> float:
    """The g to give to the adaptive algorithm: the largest of many stochastic gradients at the starts."""
    norm = lambda start, draw: tree_norm(problem.gradient(start, draw))
    norms = jax.vmap(jax.vmap(norm, in_axes=(None, 0)))
    return float(jax.jit(norms)(runs.starts, runs.draws[:, :draws]).max())


def measure(problem: Problem, budget: int, seeds: int) -> tuple[dict[str, float], list[str]]:
    """The median of every contender, and what was chosen for it on other seeds than those of the medians."""
    runs = runs_of(problem, jax.random.key(1), seeds, budget)
    tuning_runs = runs_of(problem, jax.random.key(2), seeds // 2, budget)
    g = bound_of(problem, runs)
    medians: dict[str, float] = {}
    chosen = [f"g {g:.2g}"]

    def add(make: Callable[..., Any], rows: dict[str, Setting], pairs: bool = False) -> None:
        norms = final_norms(problem, make, list(rows.values()), runs, pairs)
        medians.update(zip(rows, np.median(norms, axis=1).tolist(), strict=True))

    def add_tuned(name: str, make: Callable[..., Any], axes: list[Any], others: dict[str, Setting]) -> None:
        grid = [(*point, *SAME) for point in itertools.product(*axes)]
        norms = final_norms(problem, make, grid, tuning_runs, pairs=False)
        size, *rest = best = grid[np.median(norms, axis=1).argmin()]
        at_edge = any(value in (axis[0], axis[-1]) for value, axis in zip(best, axes, strict=False))
        values = ", ".join(f"{value:.4g}" for value in best[: len(axes)])
        chosen.append(f"{name} {values}{' (an edge of the grid)' if at_edge else ''}")
        rows: dict[str, Setting] = {f"{name}, tuned": (size, *rest)}
        rows |= {f"{name}, tuned, then {how}": (factor * size, *rest) for how, factor in WRONG.items()}
        add(make, rows | others)

    untuned: dict[str, Setting] = {f"nigt({rate:g}, 0.9)": (rate, 0.9, *SAME) for rate in (0.01, 0.1, 0.001)}
    add_tuned("nigt", nigt_jax.nigt, [RATES, MOMENTA], untuned)
    add_tuned("scheduled nigt", scheduled_nigt, [SCALES, DECAYS], {})
    paper: dict[str, Setting] = {}
    for name, share in [("adaptive", 0.0), ("adaptive, mean of both gradients", 0.5)]:
        paper |= {f"{name}, g": (g, share, *SAME)}
        paper |= {f"{name}, g {how}": (factor * g, share, *SAME) for how, factor in WRONG.items()}
    paper |= {f"adaptive, g, {how}": (g * units[0] / units[1], 0.0, *units) for how, units in UNITS.items()}
    add(adaptive_nigt, paper, pairs=True)
    released: dict[str, Setting] = {"released rule": (C, *SAME)}
    released |= {f"released rule, {how}": (C, *units) for how, units in UNITS.items()}
    add_tuned("released rule", released_nigt, [C * HALF_DECADES], released)
    return medians, chosen


def short(value: float) -> str:
    """Two figures, or all of those before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def main() -> None:
    """Measures every problem and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=10_000, help="gradient evaluations in a run")
    parser.add_argument("--seeds", type=int, default=16, help="runs of which the median is taken")
    args = parser.parse_args()
    problems = {"noisy quadratic": quadratic(0.3), "quiet quadratic": quadratic(0.003), "network": network()}
    print(f"{in_words(machine(jax.devices()[:1]))}, optax {optax.__version__}; ", end="")
    print(f"{args.budget} gradients, {args.seeds} seeds, float32\n", flush=True)
    measured = {name: measure(problem, args.budget, args.seeds) for name, problem in problems.items()}
    tables = [medians for medians, _ in measured.values()]
    print(f"| | {' | '.join(measured)} |\n|---|{'---|' * len(measured)}")
    for row in tables[0]:
        cells = [f"{short(medians[row])} ({short(medians[row] / medians['nigt, tuned'])})" for medians in tables]
        print(f"| {row} | {' | '.join(cells)} |")
    for name, (_, chosen) in measured.items():
        print(f"\nChosen for the {name}: {'; '.join(chosen)}.")


if __name__ == "__main__":
    main()
