"""The adaptive NIGT that bench/adaptive.py measures is the algorithm: a float64 NumPy loop of it goes the same way."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nigt_oracle import as_tree, as_vector, noisy_quadratic

from nigt_jax.transforms import nigt, nigt_eval_params

STEPS = 300
SPEC = importlib.util.spec_from_file_location("adaptive", Path(__file__).parents[2] / "bench" / "adaptive.py")
adaptive = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(adaptive)


def adaptive_loop(gradients, x, bound, share):
    """(x_{t+1}, y_t) for every t, as the paper counts; `gradients` takes (y_t, t - 1) and gives both."""
    c = np.sqrt(7)
    d = c ** (-14 / 3)
    eta, total, next_total = c / d ** (2 / 7), d, 3 * bound**2 + d
    before, m, path = x, np.zeros_like(x), []
    for t in range(1, STEPS + 1):
        alpha = 1 / (t * eta**2 * total)
        assert 0 < alpha <= 1 + 1e-12
        y = x + (1 - alpha) / alpha * (x - before)
        first, second = gradients(y, t - 1)
        m = (1 - alpha) * m + alpha * ((1 - share) * first + share * second)
        total = next_total
        eta = c / (total**2 * (t + 1) ** 3) ** (1 / 7)
        before, x = x, x - eta * m / np.linalg.norm(m)
        next_total = total + np.sum((first - second) ** 2) + bound**2 * ((t + 1) ** 0.25 - t**0.25)
        path.append((x, y))
    return [np.stack(points) for points in zip(*path, strict=True)]


def released_loop(gradients, x, constant):
    """The same of the released rule, which does not look at the second gradient."""
    norms, largest, m, y, path = 0, 0, None, x, []
    for t in range(1, STEPS + 1):
        g, _ = gradients(y, t - 1)
        norms, largest = norms + np.linalg.norm(g), max(largest, np.linalg.norm(g))
        total = norms + t**0.25 * largest
        eta = constant / (t**3 * total**2) ** (1 / 7)
        alpha = min(1, 1 / (t * eta**2 * total))
        m = g if m is None else (1 - alpha) * m + alpha * g
        step = -eta * m / np.linalg.norm(m)
        path.append((x + step, y))
        x, y = x + step, x + step + (1 - alpha) / alpha * step
    return [np.stack(points) for points in zip(*path, strict=True)]


def run(tx, problem, pairs, dtype):
    """The same of a transformation, as one compiled scan over a tree of two leaves."""
    hessian, first, second, start = (jnp.asarray(x, dtype) for x in problem)

    def step(carry, noise):
        params, state = carry
        one, other = (as_tree(hessian @ as_vector(params) + n) for n in noise)
        updates, state = tx.update(one, state, params, **({"other": other} if pairs else {}))
        moved = optax.apply_updates(params, updates)
        return (moved, state), (as_vector(nigt_eval_params(state, moved)), as_vector(params))

    params = as_tree(start)
    carried = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), (first, second))[1])
    return [np.asarray(x) for x in carried(params)]


@pytest.fixture(scope="module")
def problem():
    hessian, noise, start = noisy_quadratic(2 * STEPS)
    return hessian, noise[:STEPS], noise[STEPS:], start


@pytest.fixture(scope="module")
def gradients(problem):
    hessian, first, second, _ = problem
    return lambda y, k: (hessian @ y + first[k], hessian @ y + second[k])


def assert_same_path(got, wanted, tolerance):
    for name, mine, theirs in zip(["iterate", "query point"], got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * np.abs(theirs).max(), err_msg=name)


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["one gradient", "mean of both"])
@pytest.mark.parametrize("bound", [0.3, 3.0, 30.0])
def test_adaptive_equals_the_algorithm(problem, gradients, bound, share):
    wanted = adaptive_loop(gradients, problem[-1], bound, share)
    with jax.enable_x64(True):
        got = run(adaptive.adaptive_nigt(bound, share, dtype=jnp.float64), problem, True, jnp.float64)
    assert_same_path(got, wanted, 1e-9)
    assert_same_path(run(adaptive.adaptive_nigt(bound, share), problem, True, jnp.float32), wanted, 1e-4)


@pytest.mark.parametrize("constant", [0.1, 7**0.5])
def test_the_released_rule_equals_its_loop(problem, gradients, constant):
    wanted = released_loop(gradients, problem[-1], constant)
    with jax.enable_x64(True):
        got = run(adaptive.released_nigt(constant, dtype=jnp.float64), problem, False, jnp.float64)
    assert_same_path(got, wanted, 1e-9)
    assert_same_path(run(adaptive.released_nigt(constant), problem, False, jnp.float32), wanted, 1e-4)


def test_units_are_a_matter_of_the_step_for_nigt():
    problem = adaptive.quadratic(0.3)
    runs = adaptive.runs_of(problem, jax.random.key(0), seeds=2, budget=20)
    settings = [(0.1, 0.9, 1.0, 1.0), (0.1, 0.9, 10.0, 1.0), (1.0, 0.9, 1.0, 10.0)]
    norms = adaptive.final_norms(problem, nigt, settings, runs, pairs=False)
    assert norms.shape == (3, 2)
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], norms.shape), rtol=1e-3)
