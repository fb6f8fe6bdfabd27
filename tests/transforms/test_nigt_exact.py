"""nigt against a float64 NumPy loop of the algorithm, step by step, whatever the hyperparameters are made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nigt_oracle import as_tree, as_vector, nigt_loop, noisy_quadratic

from nigt_jax.transforms import (
    ema_from_first,
    implicit_gradient_transport,
    nigt,
    nigt_eval_params,
    normalize_by_tree_norm,
    normalized_momentum,
)

STEPS = 300
ETAS = [0.001, 0.01, 0.1, 0.5, 1.0]


def constant(value):
    """A number for nigt, and the function of k that the loop wants."""
    return value, lambda k: value


def scheduled(function):
    """A function of k as a schedule of the count, an int32 that strict promotion does not let meet a float."""
    return (lambda count: function(jnp.asarray(count, float))), function


def decaying_step(k):
    return 0.3 * 2 / (k + 2)


def decaying_momentum(eta, k):
    """The schedule of N-PG-IGT."""
    return 1 - eta * (2 / (k + 2)) ** 0.8


def run(tx, steps=STEPS, dtype=jnp.float32):
    """(iterates, query points) of a transformation on the problem, as one compiled scan."""
    hessian, noise, start = (jnp.asarray(x, dtype) for x in noisy_quadratic(steps))

    def step(carry, epsilon):
        params, state = carry
        gradients = as_tree(hessian @ as_vector(params) + epsilon)
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (as_vector(nigt_eval_params(state, params)), as_vector(params))

    params = as_tree(start)
    return [np.asarray(x) for x in jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), noise)[1])(params)]


def expected(learning_rate, momentum, steps=STEPS):
    hessian, noise, start = noisy_quadratic(steps)
    return nigt_loop(lambda q, k: hessian @ q + noise[k], start, steps, learning_rate, momentum)


def assert_same_path(got, wanted, tolerance):
    for name, mine, theirs in zip(["iterate", "query point"], got, wanted, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("schedules", ["none", "step size", "momentum", "step size and momentum"])
def test_equals_the_algorithm_in_float64(eta, schedules):
    learning_rate = scheduled(decaying_step) if "step size" in schedules else constant(0.05)
    momentum = scheduled(functools.partial(decaying_momentum, eta)) if "momentum" in schedules else constant(1 - eta)
    with jax.enable_x64(True):
        got = run(nigt(learning_rate[0], momentum[0]), dtype=jnp.float64)
    assert got[0].dtype == np.float64
    assert_same_path(got, expected(learning_rate[1], momentum[1]), 1e-9)


@pytest.mark.parametrize("eta", ETAS)
def test_equals_the_algorithm_in_float32(eta):
    got = run(nigt(0.05, 1 - eta))
    assert got[0].dtype == np.float32
    assert_same_path(got, expected(constant(0.05)[1], constant(1 - eta)[1]), 1e-3)


def without_params(tx):
    return optax.GradientTransformation(tx.init, lambda updates, state, params: tx.update(updates, state))


SAME = {
    "transport of normalised momentum": lambda lr, m: implicit_gradient_transport(normalized_momentum(lr, m), m),
    "transport of a chain of parts": lambda lr, m: implicit_gradient_transport(
        optax.chain(ema_from_first(m), normalize_by_tree_norm(), optax.scale_by_learning_rate(lr)), m
    ),
    "arrays": lambda lr, m: nigt(*(jnp.asarray(x, jnp.float64) for x in (lr, m))),
    "injected": lambda lr, m: optax.inject_hyperparams(nigt)(lr, m),
    "without parameters": lambda lr, m: without_params(nigt(lr, m)),
    "inside a chain": lambda lr, m: optax.chain(optax.scale(7.0), nigt(lr, m)),
    "flattened": lambda lr, m: optax.flatten(nigt(lr, m)),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("eta", [0.01, 1.0])
def test_other_ways_to_say_it_are_equal(name, eta):
    with jax.enable_x64(True):
        got = run(SAME[name](0.05, 1 - eta), dtype=jnp.float64)
    assert_same_path(got, expected(constant(0.05)[1], constant(1 - eta)[1]), 1e-9)


def test_the_query_point_uses_the_momentum_that_its_gradient_will_meet():
    tx = nigt(1.0, lambda count: jnp.array([0.0, 0.75, 0.5])[count])
    params = jnp.array([0.0, 0.0])
    updates, state = tx.update(jnp.array([4.0, 0.0]), tx.init(params), params)
    params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, [-4.0, 0.0], atol=1e-6)  # the iterate (-1, 0), and 0.75 / 0.25 steps more
    updates, state = tx.update(jnp.array([-12.0, 16.0]), state, params)  # d = 3/4 (4, 0) + 1/4 (-12, 16) = (0, 4)
    params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(nigt_eval_params(state, params), [-1.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(params, [-1.0, -2.0], atol=1e-6)  # 0.5 / 0.5 steps more


@pytest.mark.parametrize("then", [0.0, 0.3, 0.99])
def test_hyperparameters_changed_between_updates(then):
    """The offset that was handed out is the one that is taken back, whatever momentum has become since."""
    tx = optax.inject_hyperparams(nigt)(learning_rate=0.5, momentum=0.9)
    params = jnp.array([1.0, -2.0])
    state = tx.init(params)
    for gradient in ([1.0, 2.0], [-3.0, 1.0]):
        updates, state = tx.update(jnp.array(gradient), state, params)
        params = optax.apply_updates(params, updates)
    theta, d = nigt_eval_params(state, params), 0.9 * np.array([1.0, 2.0]) + 0.1 * np.array([-3.0, 1.0])
    state.hyperparams["learning_rate"], state.hyperparams["momentum"] = jnp.float32(0.25), jnp.float32(then)
    np.testing.assert_array_equal(nigt_eval_params(state, params), theta)
    updates, state = tx.update(jnp.array([2.0, 2.0]), state, params)
    params = optax.apply_updates(params, updates)
    d = then * d + (1 - then) * np.array([2.0, 2.0])
    step = -0.25 * d / np.linalg.norm(d)
    np.testing.assert_allclose(nigt_eval_params(state, params), theta + step, atol=1e-5)
    np.testing.assert_allclose(params, theta + step / (1 - then), atol=1e-4)


@pytest.mark.parametrize("silence", [1.0, 1e-6, 1e-12])
def test_gradients_that_grow_out_of_nothing(silence):
    """After rounds without reward the momentum is dust; the last step along it is as long as any and is taken back."""
    _, noise, start = noisy_quadratic(9)
    noise *= np.where(np.arange(9) % 3 < 2, silence, 1.0)[:, None]
    tx = nigt(0.5, 0.9)
    params = jnp.asarray(start, jnp.float32)
    state, update = tx.init(params), jax.jit(tx.update)
    path = []
    for gradient in noise:
        updates, state = update(jnp.asarray(gradient, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        path.append((nigt_eval_params(state, params), params))
    got = [np.stack(points) for points in zip(*path, strict=True)]
    assert_same_path(got, nigt_loop(lambda q, k: noise[k], start, 9, lambda k: 0.5, lambda k: 0.9), 1e-5)


def test_another_momentum_after_a_restart():
    """A state goes on under a transformation made anew with another constant."""
    params = jnp.array([1.0, -2.0])
    updates, state = nigt(0.5, 0.9).update(jnp.array([1.0, 2.0]), nigt(0.5, 0.9).init(params))
    params = optax.apply_updates(params, updates)
    theta = nigt_eval_params(state, params)
    for momentum in (0.0, 0.2, 0.95):
        d = momentum * np.array([1.0, 2.0]) + (1 - momentum) * np.array([2.0, 2.0])
        updates, after = nigt(0.5, momentum).update(jnp.array([2.0, 2.0]), state)
        now = nigt_eval_params(after, optax.apply_updates(params, updates))
        np.testing.assert_allclose(now, theta - 0.5 * d / np.linalg.norm(d), atol=1e-5)


def test_constants_are_rounded_once():
    """1 - 0.999 in float32 is off by 1e-5, beta / (1 - beta) of it likewise."""
    tx = nigt(1.0, 0.999)
    state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[1]
    assert float(state.reach) == np.float32(0.999 / (1 - 0.999))
    assert abs(float(jnp.float32(0.999) / (1 - jnp.float32(0.999))) - 999) > 0.01
    direction = tx.update(2 * jnp.ones(1), state)[1].inner_state.direction
    assert float(direction[0]) == pytest.approx(1.001, rel=1e-7)


def test_vmap_over_hyperparameters():
    rates, momenta = jnp.array([0.01, 0.1, 1.0]), jnp.array([0.9, 0.0, 0.5])
    batch = jax.jit(jax.vmap(lambda lr, m: jnp.stack(run_traced(lr, m))))(rates, momenta)
    for got, lr, m in zip(batch, rates, momenta, strict=True):
        assert_same_path(np.asarray(got), run(nigt(float(lr), float(m)), steps=20), 1e-5)


def run_traced(learning_rate, momentum):
    hessian, noise, start = (jnp.asarray(x, jnp.float32) for x in noisy_quadratic(20))
    tx = nigt(learning_rate, momentum)

    def step(carry, epsilon):
        params, state = carry
        updates, state = tx.update(hessian @ params + epsilon, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (nigt_eval_params(state, params), params)

    return jax.lax.scan(step, (start, tx.init(start)), noise)[1]


def test_complex_parameters_are_pairs_of_real_ones():
    rng = np.random.default_rng(0)
    draw = lambda: {"w": jnp.asarray(rng.normal(size=3) + 1j * rng.normal(size=3), jnp.complex64), "b": jnp.ones(2)}
    start, *gradients = [draw() for _ in range(6)]

    def trained(tx):
        params, state, update = start, tx.init(start), jax.jit(tx.update)
        for g in gradients:
            updates, state = update(g, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    params, state = trained(nigt(0.1, 0.8))
    with jax.numpy_dtype_promotion("standard"):  # optax's wrapper multiplies float32 by 1j
        split, _ = trained(optax.contrib.split_real_and_imaginary(nigt(0.1, 0.8)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params, split)
    assert state.inner_state.direction["w"].dtype == jnp.complex64
    assert nigt_eval_params(state, params)["w"].dtype == jnp.complex64
