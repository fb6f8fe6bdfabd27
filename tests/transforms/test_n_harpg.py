"""Hessian-aided momentum against its equation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.transforms import OneMinus, n_harpg, normalized_momentum

DRAW = np.random.default_rng(11)
GRADIENTS, CHANGES = DRAW.normal(size=(2, 6, 5))


def tree_of(vector):
    vector = jnp.asarray(vector, jnp.float32)
    return {"a": vector[..., :2], "b": vector[..., 2:]}


def oracle(rate, weight):
    """d_t = (1 - eta) (d_{t-1} + v_t) + eta g_t, d_0 = g_0; a step of the given length along it."""
    direction, theta, rows = None, np.zeros(GRADIENTS.shape[1]), []
    for t, (g, v) in enumerate(zip(GRADIENTS, CHANGES, strict=True)):
        direction = g if direction is None else (1 - weight) * (direction + v) + weight * g
        step = -rate(t) * direction / np.linalg.norm(direction)
        theta = theta + step
        rows.append(np.concatenate([theta, step]))
    return np.array(rows)


@pytest.mark.parametrize("momentum", [0.75, OneMinus(0.25), lambda count: 0.75], ids=["number", "weight", "schedule"])
def test_equals_its_equation_when_compiled(momentum):
    rate = lambda t: 0.3 / (1 + jnp.float32(t))
    tx = n_harpg(rate, momentum)

    def one(carry, given):
        theta, state = carry
        gradient, change = given
        step, state = tx.update(gradient, state, theta, change=change)
        theta = jax.tree.map(jnp.add, theta, step)
        return (theta, state), jnp.concatenate([theta["a"], theta["b"], *state.last_step().values()])

    start = tree_of(np.zeros(GRADIENTS.shape[1]))
    _, rows = jax.jit(lambda *given: jax.lax.scan(one, (start, tx.init(start)), given))(
        tree_of(GRADIENTS), tree_of(CHANGES)
    )
    np.testing.assert_allclose(rows, oracle(rate, 0.25), rtol=2e-5, atol=1e-6)


def test_nothing_changed_is_plain_momentum():
    aided, plain = n_harpg(0.1, 0.9), normalized_momentum(0.1, 0.9)
    params = tree_of(np.zeros(5))
    states = aided.init(params), plain.init(params)
    for gradient in GRADIENTS:
        a, first = aided.update(tree_of(gradient), states[0], change=jax.tree.map(jnp.zeros_like, params))
        b, second = plain.update(tree_of(gradient), states[1])
        states = first, second
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_refuses_a_change_of_another_shape():
    tx, params = n_harpg(0.1), jnp.zeros(2)
    with pytest.raises(ValueError, match="shape"):
        tx.update(params, tx.init(params), change=jnp.zeros(3))
    with pytest.raises(TypeError, match="change"):
        tx.update(params, tx.init(params))


def test_the_first_change_may_be_anything():
    """There is no update before the first, so a change since then may well be no number."""
    tx, gradient = n_harpg(0.5, 0.9), jnp.array([3.0, 4.0])
    step, state = jax.jit(tx.update)(gradient, tx.init(gradient), change=jnp.array([jnp.nan, jnp.inf]))
    np.testing.assert_allclose(step, [-0.3, -0.4], rtol=1e-6)
    np.testing.assert_array_equal(state.direction, gradient)
