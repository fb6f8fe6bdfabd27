"""The rule of thumb of docs/transforms.md for the length of a step, on three problems whose scales differ 25-fold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nigt_jax.transforms import OneMinus, n_pg_igt_schedules, nigt, nigt_eval_params, tree_norm

STEPS, SEEDS = 300, 4
FACTORS = np.array([0.1, 10**-0.5, 1.0, 10**0.5, 10.0])  # of the rule's step


class Problem(NamedTuple):
    """What is minimised, and R, the guess of how far the parameters have to go."""

    start: Any
    loss: Callable[[Any, jax.Array], jax.Array]  # of parameters and a key: stochastic
    full: Callable[[Any], jax.Array]
    reach: float


def draws(seed):
    rng = np.random.default_rng(seed)
    return lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)


def quadratic():
    """Curvatures from 0.01 to 1, gradients with noise of norm 20; the optimum is known to be about 100 away."""
    normal, curvatures = draws(0), jnp.asarray(np.logspace(-2, 0, 50), jnp.float32)
    optimum = 100 / np.sqrt(50) * normal(50)
    full = lambda p: 0.5 * jnp.sum(curvatures * (p - optimum) ** 2)
    noisy = lambda p, key: full(p) + 20 / np.sqrt(50) * jnp.dot(jax.random.normal(key, (50,)), p)
    return Problem(jnp.zeros(50), noisy, full, 100.0)


def logistic():
    """20 standardised inputs, batches of 16; weights of about 1 each, hence sqrt(20)."""
    normal = draws(1)
    inputs = normal(512, 20)
    labels = jnp.sign(inputs @ normal(20) + 1.5 * normal(512))
    mean = lambda p, x, y: jnp.mean(jax.nn.softplus(-y * (x @ p)))
    return Problem(jnp.zeros(20), *on_batches(mean, inputs, labels), 20**0.5)


def network():
    """A tanh network that learns from one of twice its weights; R is the norm of the parameters it begins with."""
    normal = draws(2)
    make = lambda: {"in": normal(10, 16) / np.sqrt(10), "out": normal(16) / 4}
    apply = lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"]
    inputs, params = normal(512, 10), make()
    targets = apply(jax.tree.map(lambda x: 2 * x, make()), inputs)
    mean = lambda p, x, y: jnp.mean((apply(p, x) - y) ** 2)
    return Problem(params, *on_batches(mean, inputs, targets), float(tree_norm(params)))


def on_batches(mean, inputs, targets):
    """The loss of a random batch of 16, and that of all."""

    def noisy(params, key):
        chosen = jax.random.randint(key, (16,), 0, len(targets))
        return mean(params, inputs[chosen], targets[chosen])

    return noisy, lambda params: mean(params, inputs, targets)


def scheduled(length):
    learning_rate, momentum = n_pg_igt_schedules(length)
    return learning_rate, momentum.newest


KINDS = {  # step lengths and weights of the newest gradient as functions of t, and the length that the page recommends
    "schedule": (scheduled, lambda reach: reach / 3),
    "cosine": (
        lambda a: (lambda t: a * 0.5 * (1 + np.cos(np.pi * t / STEPS)), lambda t: 0.1 + 0 * t),
        lambda reach: 10 * reach / STEPS,
    ),
    "constant": (lambda a: (lambda t: a + 0 * t, lambda t: 0.1 + 0 * t), lambda reach: 3 * reach / STEPS),
}


def final_losses(problem, runs):
    """The loss of the iterate after the last step, the median of the seeds, for every run; one program.

    Args:
      problem: what is minimised.
      runs: (step lengths, weights of the newest gradient), functions of t.
    """
    steps = np.arange(STEPS + 1.0)
    table = [jnp.asarray(np.stack([run[k](steps) for run in runs]), jnp.float32) for k in range(2)]

    def play(rates, newest, key):
        tx = nigt(lambda t: rates[t], OneMinus(lambda t: newest[t]))

        def step(carry, key):
            params, state = carry
            updates, state = tx.update(jax.grad(problem.loss)(params, key), state, params)
            return (optax.apply_updates(params, updates), state), None

        start = (problem.start, tx.init(problem.start))
        (params, state), _ = jax.lax.scan(step, start, jax.random.split(key, STEPS))
        return problem.full(nigt_eval_params(state, params))

    over_seeds = jax.vmap(play, in_axes=(None, None, 0))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return np.median(jax.jit(jax.vmap(over_seeds, in_axes=(0, 0, None)))(*table, keys), axis=1)


@pytest.mark.parametrize("make_problem", [quadratic, logistic, network])
def test_the_rule_is_near_the_best_of_a_grid(make_problem):
    problem = make_problem()
    runs = [make(factor * rule(problem.reach)) for make, rule in KINDS.values() for factor in FACTORS]
    *tried, default = final_losses(problem, [*runs, KINDS["constant"][0](0.01)])
    at_first = float(problem.full(problem.start))
    print(f"{make_problem.__name__}: {at_first:.3f} at first, {default:.3f} with constant steps of 0.01")
    for kind, losses in zip(KINDS, np.reshape(tried, (len(KINDS), -1)), strict=True):
        print(f"  {kind:9}", np.round(losses, 3))
        rule = losses[2]
        assert rule < 1.5 * losses.min()
        assert rule < 0.5 * at_first
        assert min(losses[0], losses[4]) > 1.5 * rule  # there was something to get wrong, on either side
        assert make_problem is not quadratic or default > 20 * rule  # so no one length fits all
