"""What every transform must do. A new one is one row of ROWS."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nigt_jax.transforms import (
    ema_from_first,
    implicit_gradient_transport,
    malenia_mean,
    nigt,
    normalize_by_tree_norm,
    normalized_momentum,
    rennala_mean,
)

NONE: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """How to make a transform, with which hyperparameters, what else its update needs, and whether it descends."""

    make: Callable[..., optax.GradientTransformation]
    hyper: Mapping[str, Any] = NONE
    extra: Mapping[str, Any] = NONE
    descends: bool = False

    def __call__(self):
        return optax.with_extra_args_support(self.make(**self.hyper))


def transported_momentum(learning_rate, momentum):
    step = optax.chain(ema_from_first(momentum), optax.scale_by_learning_rate(learning_rate))
    return implicit_gradient_transport(step, momentum)


BOTH = {"learning_rate": 0.1, "momentum": 0.75}
ROWS = {
    "nigt": Row(nigt, BOTH, descends=True),
    "normalized_momentum": Row(normalized_momentum, BOTH, descends=True),
    "nigt without normalisation": Row(transported_momentum, BOTH, descends=True),
    "ema_from_first": Row(ema_from_first, {"momentum": 0.75}),
    "normalize_by_tree_norm": Row(normalize_by_tree_norm),
    "rennala_mean": Row(functools.partial(rennala_mean, None), extra={"count": 4}),
    "malenia_mean": Row(functools.partial(malenia_mean, None), extra={"count": 4.0}),
}


def rows(condition=lambda row: True):
    chosen = {name: row for name, row in ROWS.items() if condition(row)}
    return pytest.mark.parametrize("row", chosen.values(), ids=chosen)


def dtypes(*chosen):
    return pytest.mark.parametrize("dtype", chosen, ids=lambda d: d.__name__)


def example(dtype=jnp.float32):
    """Parameters and gradients of them: two ranks, an empty leaf and a None."""
    params = {"w": jnp.arange(6, dtype=dtype).reshape(3, 2), "s": jnp.ones([], dtype), "empty": jnp.zeros([0], dtype)}
    params["none"] = None
    return params, jax.tree.map(lambda p: (p + 1) / 2, params)


def step_of(row, tx):
    """One turn of a training loop, from (params, state), as a function to be compiled."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params, **row.extra)
        # What is below nigt gives updates in the accumulator's dtype; strict promotion wants the parameters'.
        updates = jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params)
        return optax.apply_updates(params, updates), state

    return step


def first_updates(row, tx, params, gradients):
    return jax.jit(lambda p, g: tx.update(g, tx.init(p), p, **row.extra)[0])(params, gradients)


def assert_close(a, b, **tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    wide = lambda x: np.asarray(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(wide(x), wide(y), **({"rtol": 1e-6} | tolerance)), a, b)


def all_finite(tree):
    return all(
        np.isfinite(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x).all() for x in jax.tree.leaves(tree)
    )


@rows()
@dtypes(jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64)
def test_types_stay_and_the_second_call_compiles_nothing(row, dtype):
    params, gradients = example(dtype)
    tx = row()
    step = jax.jit(chex.assert_max_traces(step_of(row, tx), n=1))
    state = jax.jit(tx.init)(params)
    types = lambda tree: jax.tree.map(jax.typeof, tree)
    before = types((params, state))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before[1]) == jax.tree.map(
        lambda x: (x.shape, x.dtype), jax.eval_shape(tx.init, params)
    )
    assert not any(x.weak_type for x in jax.tree.leaves(before))
    for _ in range(3):
        params, state = step(params, state, gradients)
        assert types((params, state)) == before
    assert all_finite((params, state))


@rows()
def test_compiled_vmapped_and_scanned_are_equal(row):
    params, gradients = example()
    tx = row()
    step = step_of(row, tx)
    start = (params, tx.init(params))
    once = step(*start, gradients)
    twice = jax.jit(step)(*once, gradients)

    def body(carry, go):
        return jax.lax.cond(go, lambda c: step(*c, gradients), lambda c: c, carry), None

    scanned = jax.jit(lambda c: jax.lax.scan(body, c, jnp.array([True, False, True]))[0])(start)
    assert_close(scanned, twice, atol=1e-6)
    batch = lambda tree: jax.tree.map(lambda x: jnp.stack([x + 1, x]), tree)
    vmapped = jax.jit(jax.vmap(lambda p, g: step(p, tx.init(p), g)))(batch(params), batch(gradients))
    assert_close(jax.tree.map(lambda x: x[1], vmapped), once, atol=1e-6)


@rows()
@dtypes(jnp.float32, jnp.bfloat16)
def test_params_and_state_may_be_donated(row, dtype):
    params, gradients = example(dtype)
    tx = row()
    step = step_of(row, tx)
    plain, donating = jax.jit(step), jax.jit(step, donate_argnums=(0, 1))
    expected = plain(*plain(params, tx.init(params), gradients), gradients)
    before = (params, tx.init(params))
    after = donating(*donating(*before, gradients), gradients)
    assert all(x.is_deleted() for x in jax.tree.leaves(before) if x.ndim and x.size)  # a scalar may not be needed
    assert_close(after, expected, atol=1e-6)


@rows()
def test_zero_gradients_do_nothing_and_have_a_derivative(row):
    params, _ = example()
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = row()
    step = step_of(row, tx)

    def twice(gradients):
        return step(*step(params, tx.init(params), gradients), gradients)

    def moved(gradients):
        after, state = twice(gradients)
        return sum(jnp.sum(x) for x in jax.tree.leaves(after)), (after, state)

    derivative, (after, state) = jax.jit(jax.grad(moved, has_aux=True))(zeros)
    assert_close(after, params, rtol=0)
    assert all_finite(state)
    assert all_finite(derivative)


@rows()
def test_huge_and_tiny_gradients(row):
    """The updates are those of gradients of ordinary size, or in proportion to them."""
    params, gradients = example()
    tx = row()
    ordinary = first_updates(row, tx, params, gradients)
    for size in (1e30, 1e-30):
        scale = 1.0 if row.make in (nigt, normalized_momentum, normalize_by_tree_norm) else size
        got = first_updates(row, tx, params, jax.tree.map(lambda g, size=size: size * g, gradients))
        assert_close(jax.tree.map(lambda x, scale=scale: x / scale, got), ordinary, rtol=1e-5)


@rows()
def test_a_non_finite_gradient_shows_and_can_be_refused(row):
    params, gradients = example()
    bad = gradients | {"w": gradients["w"].at[1, 1].set(jnp.nan)}
    tx = optax.apply_if_finite(row(), max_consecutive_errors=2)
    update = jax.jit(functools.partial(tx.update, **row.extra))
    assert not all_finite(first_updates(row, row(), params, bad))
    state = tx.init(params)
    updates, state = update(bad, state, params)
    assert_close(updates, jax.tree.map(jnp.zeros_like, params))
    updates, state = update(gradients, state, params)
    assert_close(updates, first_updates(row, row(), params, gradients), atol=1e-6)


@rows()
def test_bad_gradients_are_named(row):
    params, gradients = example()
    tx = row()
    state = tx.init(params)
    with pytest.raises(TypeError, match=r"\['w'\].*int32"):
        tx.update(gradients | {"w": jnp.ones((3, 2), jnp.int32)}, state, params, **row.extra)
    if jax.tree.leaves(state):  # what keeps nothing cannot know shapes
        with pytest.raises(ValueError, match=r"\['w'\].*\(2, 3\).*\(3, 2\)"):
            tx.update(gradients | {"w": jnp.ones((2, 3))}, state, None, **row.extra)
        with pytest.raises(ValueError, match="structure"):
            tx.update({"w": gradients["w"]}, state, None, **row.extra)


@rows()
def test_an_empty_tree(row):
    assert first_updates(row, row(), {}, {}) == {}


@rows(lambda row: row.hyper)
def test_inject_hyperparams(row):
    params, gradients = example()
    plain, injected = row(), optax.inject_hyperparams(row.make)(**row.hyper)
    a, b = (params, plain.init(params)), (params, injected.init(params))
    step_injected = jax.jit(chex.assert_max_traces(step_of(row, injected), n=1))
    step = jax.jit(step_of(row, plain))
    for _ in range(3):
        a, b = step(*a, gradients), step_injected(*b, gradients)
    assert_close(a[0], b[0], rtol=1e-5)


@rows()
@dtypes(jnp.float32, jnp.bfloat16)
def test_multi_steps_averages_the_gradients(row, dtype):
    params, gradients = example(dtype)
    cast = optax.stateless(lambda updates, params: jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params))
    tx = optax.chain(row(), cast)
    multi = optax.MultiSteps(tx, every_k_schedule=2)
    update = jax.jit(functools.partial(multi.update, **row.extra))
    with jax.numpy_dtype_promotion("standard"):  # MultiSteps divides float32 by int32
        _, state = update(jax.tree.map(lambda g: 0.5 * g, gradients), multi.init(params), params)
        updates, _ = update(jax.tree.map(lambda g: 1.5 * g, gradients), state, params)
    assert_close(updates, first_updates(row, tx, params, gradients), rtol=2e-2 if dtype == jnp.bfloat16 else 1e-6)


@rows()
def test_wrappers_see_the_same_transform(row):
    params, gradients = example()
    expected = first_updates(row, row(), params, gradients)
    assert_close(first_updates(row, optax.flatten(row()), params, gradients), expected)
    chained = optax.chain(optax.identity(), row())
    assert_close(first_updates(row._replace(extra=row.extra | {"value": 1.0}), chained, params, gradients), expected)
    alone = first_updates(row, row(), {"w": params["w"]}, {"w": gradients["w"]})
    masked = optax.masked(row(), {"w": True, "s": False, "empty": False, "none": None})
    updates = first_updates(row, masked, params, gradients)
    assert_close(updates, gradients | {"w": alone["w"]})


@rows(lambda row: row.descends)
@pytest.mark.parametrize(
    "loss",
    [
        lambda x: jnp.sum(jnp.array([1.0, 5.0]) * (x - 2.0) ** 2),
        lambda x: jnp.sum(jnp.log(jnp.cosh(x - 2.0))) + 0.1 * jnp.prod(x - 2.0) ** 2,
    ],
    ids=["quadratic", "log cosh"],
)
def test_converges(row, loss):
    tx = row.make(learning_rate=optax.exponential_decay(0.05, 500, 0.25), momentum=0.8)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = jnp.array([-1.0, 1.5])
    params = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=2000)[0][0])(start)
    np.testing.assert_allclose(params, [2.0, 2.0], atol=1e-2)
