"""Parameters and accumulators of less than float32: progress is real and the steps are whole."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nigt_jax.transforms import (
    ema_from_first,
    implicit_gradient_transport,
    nigt,
    nigt_eval_params,
    normalize_by_tree_norm,
    normalized_momentum,
)

LOW = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)


def nigt_of_increments(learning_rate, momentum):
    """What nigt would be if it added its moves to the parameters as they are, whatever their dtype."""
    tx = nigt(learning_rate, momentum)
    wide = lambda tree: jax.tree.map(lambda x: x.astype(jnp.float32), tree)

    def update(updates, state, params):
        moves, state = tx.update(wide(updates), state)
        return jax.tree.map(lambda m, p: m.astype(p.dtype), moves, params), state

    return optax.GradientTransformation(lambda params: tx.init(wide(params)), update)


def distance_left(tx, params, steps=400):
    loss = lambda x: 0.5 * jnp.sum((x.astype(jnp.float32) - 100.5) ** 2)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    params, state = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=steps)[0])(params)
    return float(jnp.linalg.norm(params.astype(jnp.float32) - 100.5)), state, params


@LOW
def test_progress_where_increments_round_away(dtype):
    """At 100 the neighbours in bfloat16 are 0.5 apart and in float16 0.0625: steps of 0.02 are lost one by one."""
    start = jnp.full([4], 104.0, dtype)
    begun = float(jnp.linalg.norm(start.astype(jnp.float32) - 100.5))
    left, state, params = distance_left(nigt(0.02, 0.5), start)
    assert left < 0.25 * begun
    assert params.dtype == dtype
    assert nigt_eval_params(state, params).dtype == dtype
    lost, *_ = distance_left(nigt_of_increments(0.02, 0.5), start)
    assert lost > 0.9 * begun


def test_the_iterate_is_kept_in_float32_and_only_where_needed():
    params = {"low": jnp.zeros(3, jnp.bfloat16), "full": jnp.zeros(3), "complex": jnp.zeros(3, jnp.complex64)}
    inner = optax.chain(ema_from_first(0.5), optax.scale_by_learning_rate(0.1))
    for tx in (nigt(0.1), implicit_gradient_transport(inner, 0.5)):
        state = tx.init(params)
        assert state.iterate["low"].dtype == jnp.float32
        assert state.iterate["full"] is None
        assert state.iterate["complex"] is None
    assert state.last_step["low"] is None  # this wrapper had to store the others' steps
    assert state.last_step["full"].dtype == jnp.float32
    gradients = jax.tree.map(jnp.ones_like, params)
    updates, state = tx.update(gradients, state, params)
    theta = nigt_eval_params(state, optax.apply_updates(params, updates))
    assert jax.tree.map(lambda x: x.dtype, theta) == jax.tree.map(lambda x: x.dtype, params)
    jax.tree.map(lambda x: np.testing.assert_allclose(np.asarray(x, complex), -0.1, rtol=4e-3), theta)
    with pytest.raises(ValueError, match="need `params`"):
        tx.update(gradients, state)


def test_one_buffer():
    """float32: the size of the parameters and five scalars."""
    params = {"a": jnp.zeros([100, 3]), "b": jnp.zeros(50)}
    state = nigt(0.1).init(params)
    assert sum(x.nbytes for x in jax.tree.leaves(state)) == 350 * 4 + 5 * 4


@pytest.mark.parametrize("make", [nigt, normalized_momentum], ids=["nigt", "normalized_momentum"])
@pytest.mark.parametrize("momentum", [0.9, 0.999])
def test_a_bfloat16_accumulator_takes_whole_steps(make, momentum):
    """The step is that of the stored direction, so that rounding is not multiplied by the reach, 999."""
    tx = make(0.1, momentum, accumulator_dtype=jnp.bfloat16)
    params = jnp.zeros(64)
    state = tx.init(params)

    @jax.jit
    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, nigt_eval_params(state, params) if make is nigt else params

    before = params
    for key in jax.random.split(jax.random.key(0), 4):
        params, state, theta = step(params, state, jax.random.normal(key, (64,)))
        assert float(jnp.linalg.norm(theta - before)) == pytest.approx(0.1, rel=2e-3)
        before = theta
    direction = state.inner_state.direction if make is nigt else state.direction
    assert direction.dtype == jnp.bfloat16


@pytest.mark.parametrize(("params", "dtype"), [(1.0, jnp.int32), (1j, jnp.float32)])
def test_an_accumulator_that_cannot_hold_the_momentum_is_refused(params, dtype):
    with pytest.raises(TypeError, match="accumulator_dtype"):
        nigt(0.1, accumulator_dtype=dtype).init(jnp.asarray(params))


@LOW
def test_low_precision_gradients_of_float32_parameters(dtype):
    tx = nigt(0.1)
    updates, _ = tx.update(jnp.ones(4, dtype), tx.init(jnp.zeros(4)))
    assert updates.dtype == jnp.float32
    np.testing.assert_allclose(updates, -0.5, rtol=1e-6)  # (1 + 9) steps of 0.1, each 1/2 a coordinate


def test_the_norm_of_float16_is_taken_in_float32():
    """Its square, 1e9, is beyond float16."""
    tx = normalize_by_tree_norm()
    updates, _ = tx.update(jnp.full(4, 3e4, jnp.float16), tx.init(None))
    assert updates.dtype == jnp.float16
    np.testing.assert_array_equal(updates, 0.5)
