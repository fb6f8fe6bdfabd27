"""nigt over parameters that are spread over devices: the norm is that of the whole tree, and nothing is gathered."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from nigt_jax.transforms import nigt, nigt_eval_params

SPECS = {"w": P("x", "y"), "b": P("x")}
MESHES = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
TX = nigt(0.1, 0.75)


def spread(axis_type):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(axis_type,) * 2)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), SPECS)


def problem():
    rng = np.random.default_rng(0)
    draw = lambda: {"w": jnp.asarray(rng.normal(size=(8, 4)), jnp.float32), "b": jnp.ones(8)}
    return draw(), [draw() for _ in range(3)]


@jax.jit
def step(params, state, gradients):
    updates, state = TX.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    return params, state, nigt_eval_params(state, params)


def run(params, rounds):
    state = TX.init(params)
    for gradients in rounds:
        params, state, theta = step(params, state, gradients)
    return params, state, theta


@MESHES
def test_equals_one_device_and_stays_spread(axis_type):
    params, rounds = problem()
    shardings = spread(axis_type)
    expected, _, expected_theta = run(params, rounds)
    got, state, theta = run(jax.device_put(params, shardings), [jax.device_put(g, shardings) for g in rounds])
    for name in params:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5)
        np.testing.assert_allclose(theta[name], expected_theta[name], rtol=1e-5)
        for tree in (got, state.inner_state.direction):
            assert tree[name].sharding.is_equivalent_to(shardings[name], tree[name].ndim)


@MESHES
def test_only_scalars_cross_devices(axis_type):
    params, rounds = problem()
    shardings = spread(axis_type)
    params, gradients = jax.device_put(params, shardings), jax.device_put(rounds[0], shardings)
    text = step.lower(params, TX.init(params), gradients).compile().as_text()
    crossing = [line for line in text.splitlines() if "all-reduce(" in line]
    assert crossing
    assert all(" f32[]" in line.split("all-reduce(")[0] for line in crossing)
    assert not any(f"{op}(" in text for op in ("all-gather", "all-to-all", "collective-permute"))


def test_the_state_of_eager_init_is_spread_like_the_parameters():
    params, _ = problem()
    shardings = spread(AxisType.Auto)
    state = TX.init(jax.device_put(params, shardings))
    for name, leaf in state.inner_state.direction.items():
        assert leaf.sharding.is_equivalent_to(shardings[name], leaf.ndim)
