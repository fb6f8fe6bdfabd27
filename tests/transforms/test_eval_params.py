"""nigt_eval_params finds its state wherever optax has put it, or says why it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nigt_jax.transforms import implicit_gradient_transport, nigt, nigt_eval_params, normalized_momentum

RATE, MOMENTUM = 0.1, 0.75
PARAMS = {"net": {"w": jnp.ones([3, 2]), "b": jnp.zeros(2)}, "head": jnp.full([4], 2.0), "frozen": None}
GRADIENTS = jax.tree.map(lambda p: p + 1.0, PARAMS)
LABELS = {"net": "slow", "head": "fast", "frozen": "slow"}  # "slow" stands for a whole subtree


def updated(tx, params=PARAMS, gradients=GRADIENTS, steps=2):
    state = tx.init(params)
    update = jax.jit(tx.update)
    for _ in range(steps):
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def iterate_after(steps, params=PARAMS, gradients=GRADIENTS, rate=RATE):
    """The gradient never changes here, so every step is the same one."""
    norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(gradients)))
    return jax.tree.map(lambda p, g: p - steps * rate * g / norm, params, gradients)


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


WRAPPED = {
    "alone": lambda tx: tx,
    "chain": lambda tx: optax.chain(optax.scale(3.0), tx),
    "named_chain": lambda tx: optax.named_chain(("optimiser", tx)),
    "flatten": optax.flatten,
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1),
    "all masked in": lambda tx: optax.masked(tx, {"net": True, "head": True, "frozen": True}),
    "one label": lambda tx: optax.multi_transform({"a": tx}, jax.tree.map(lambda _: "a", PARAMS)),
    "deep": lambda tx: optax.chain(optax.apply_if_finite(optax.flatten(optax.chain(tx)), 3)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_found_inside(name):
    with jax.numpy_dtype_promotion("standard"):  # for MultiSteps
        params, state = updated(WRAPPED[name](nigt(RATE, MOMENTUM)))
        assert_close(jax.jit(nigt_eval_params)(state, params), iterate_after(2))
    with pytest.raises(AssertionError):
        assert_close(params, iterate_after(2))


def test_found_inside_inject_hyperparams():
    params, state = updated(optax.inject_hyperparams(nigt)(RATE, MOMENTUM))
    assert_close(nigt_eval_params(state, params), iterate_after(2))


def test_parameters_that_are_masked_out_come_back_as_they_are():
    tx = optax.masked(nigt(RATE, MOMENTUM), {"net": False, "head": True, "frozen": True})
    params, state = updated(tx)
    theta = nigt_eval_params(state, params)
    assert theta["net"] is not None
    assert_close(theta["net"], params["net"])
    assert_close(theta["head"], iterate_after(2, PARAMS["head"], GRADIENTS["head"]))


def test_two_over_disjoint_parameters():
    tx = optax.multi_transform({"slow": nigt(RATE, MOMENTUM), "fast": nigt(5 * RATE, 0.5)}, LABELS)
    params, state = updated(tx)
    theta = nigt_eval_params(state, params)
    assert_close(theta["net"], iterate_after(2, PARAMS["net"], GRADIENTS["net"]))
    assert_close(theta["head"], iterate_after(2, PARAMS["head"], GRADIENTS["head"], 5 * RATE))


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)])
@pytest.mark.parametrize("wrap", [lambda tx: tx, optax.flatten], ids=["plain", "flatten"])
def test_a_single_array(shape, wrap):
    params, gradients = jnp.ones(shape), jnp.full(shape, 2.0)
    after, state = updated(wrap(nigt(RATE, MOMENTUM)), params, gradients)
    assert_close(nigt_eval_params(state, after), iterate_after(2, params, gradients))


def test_of_a_restored_state():
    """What a checkpoint gives back is NumPy arrays."""
    params, state = jax.tree.map(np.asarray, updated(nigt(RATE, MOMENTUM)))
    assert_close(nigt_eval_params(state, params), iterate_after(2))


def test_before_the_first_update_it_is_the_parameters():
    assert_close(nigt_eval_params(nigt(RATE).init(PARAMS), PARAMS), PARAMS)


def test_nested_transports_are_one():
    inner = implicit_gradient_transport(normalized_momentum(RATE, MOMENTUM), 0.0)
    params, state = updated(implicit_gradient_transport(inner, MOMENTUM))
    assert_close(nigt_eval_params(state, params), iterate_after(2))


def test_a_batch_of_states_wants_vmap():
    batch = jax.tree.map(lambda p: jnp.stack([p, p]), (PARAMS, GRADIENTS))
    tx = nigt(RATE, MOMENTUM)
    updates, state = jax.jit(jax.vmap(lambda p, g: tx.update(g, tx.init(p), p)))(*batch)
    params = optax.apply_updates(batch[0], updates)
    theta = jax.jit(jax.vmap(nigt_eval_params))(state, params)
    assert_close(jax.tree.map(lambda x: x[1], theta), iterate_after(1))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        nigt_eval_params(state, params)


def test_no_state():
    with pytest.raises(ValueError, match="no NIGT state in a tuple"):
        nigt_eval_params(optax.sgd(0.1).init(PARAMS), PARAMS)


def test_a_state_of_other_parameters():
    state = nigt(RATE).init(PARAMS)
    for other in ({"net": PARAMS["net"]}, PARAMS | {"head": jnp.zeros(5)}, PARAMS | {"head": {"w": jnp.zeros(4)}}):
        with pytest.raises(ValueError, match="made for other parameters"):
            nigt_eval_params(state, other)


def test_two_states_of_the_same_parameters():
    state = optax.chain(nigt(RATE), nigt(RATE)).init(PARAMS)
    with pytest.raises(ValueError, match="ambiguous"):
        nigt_eval_params(state, PARAMS)


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan"), 2, np.float32(1.0)])
def test_momentum_outside_its_range(momentum):
    with pytest.raises(ValueError, match="momentum"):
        nigt(0.1, momentum)


def test_several_step_sizes_at_once_want_vmap():
    tx = nigt(jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"one number.*jax\.vmap"):
        tx.update(GRADIENTS, tx.init(PARAMS))
