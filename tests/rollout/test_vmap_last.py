"""`vmap_last` is `jax.vmap` with the axis at the other end, operation by operation and for whole environments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from probes import brax_environment

from nigt_jax.rollout import _vmap_last, side_by_side
from nigt_jax.rollout._vmap_last import vmap_last

LANES = 5
INDICES = np.array([2, 0, 2])


def newton(x):
    """A loop whose length differs from lane to lane."""
    return lax.while_loop(lambda y: jnp.abs(y * y - x[0, 0]) > 1e-3, lambda y: (y + x[0, 0] / y) / 2, 1.0)


def way_of_three(x):
    return (5 * x[0, 0]).astype(jnp.int32) % 3


def count_to(number, x):
    """A loop with constants, a counter that does not differ at first, and a key."""
    step = lambda c: (c[0] + 1, c[1] * x[1], jax.random.split(c[2])[0])
    count, rows, key = lax.while_loop(lambda c: c[0] < number, step, (0, x[2], jax.random.key(1)))
    return count, rows + jax.random.uniform(key)


FUNCTIONS = {
    "elementwise": lambda x: jnp.sin(x) * 2 + x**2 - jnp.arctan2(x, x.sum()),
    "with a constant array": lambda x: x * np.arange(12, dtype=np.float32).reshape(4, 3),
    "a number of each lane": lambda x: jnp.where(x[0, 0] > 2, x, x.sum() * x),
    "one choice for all": lambda x: lax.select(jnp.asarray(True), x, -x),
    "clip": lambda x: jnp.clip(x, 0.5, x[0, 0]),
    "integers": lambda x: (x.astype(jnp.int32) * 3 // 2) ^ 5,
    "constant result": lambda x: jnp.ones((2, 3)) + 0 * x.shape[0],
    "reshape": lambda x: x.reshape(2, 6).ravel()[None],
    "reshape by columns": lambda x: x.reshape((2, 6), order="F"),
    "squeeze": lambda x: x[:1].squeeze(0),
    "broadcast": lambda x: jnp.broadcast_to(x[:, None, :1], (4, 2, 3)),
    "transpose": lambda x: x.T,
    "concatenate": lambda x: jnp.concatenate([x, jnp.ones((1, 3)), x[1:2]]),
    "stack and unstack": lambda x: (jnp.stack([x, 2 * x], axis=2), jnp.stack([x, x], axis=0), jnp.unstack(x, axis=1)),
    "split": lambda x: jnp.split(x, [1, 3], axis=0),
    "slice": lambda x: x[1:4:2, ::-1],
    "reductions": lambda x: jnp.stack([x.sum(0), x.max(0), x.prod(0), x.mean(0), (x > 1).all(0).astype(x.dtype)]),
    "along an axis": lambda x: (jnp.cumsum(x, axis=1), jnp.argmax(x, axis=1)),
    "same places": lambda x: x[INDICES] + x[:, INDICES][:3],
    "a place": lambda x: lax.dynamic_slice(x, (1, 0), (2, 3)),
    "places of each lane": lambda x: x[x[:, 0].astype(jnp.int32) % 4],
    "add to same places": lambda x: x.at[INDICES].add(x[:3]),
    "add a constant": lambda x: x.at[:, INDICES].add(1.0),
    "add to a constant": lambda x: jnp.zeros((3, 3)).at[INDICES].add(x[:3]),
    "set same places": lambda x: x.at[np.array([3, 1])].set(x[:2]),
    "apply at same places": lambda x: x.at[np.array([3, 1])].apply(jnp.sin),
    "set a place of each lane": lambda x: x.at[x[0, 0].astype(jnp.int32) % 4].set(0.0),
    "sums by group": lambda x: jax.ops.segment_sum(x, np.array([1, 0, 1, 5]), 3),
    "inner product": lambda x: x[0] @ x[1],
    "matrix product": lambda x: x @ x.T,
    "with a constant matrix": lambda x: x @ np.arange(6, dtype=np.float32).reshape(3, 2),
    "a constant matrix with": lambda x: np.arange(8, dtype=np.float32).reshape(2, 4) @ x,
    "products side by side": lambda x: jnp.einsum("bij,bkj->bik", x.reshape(2, 2, 3), x.reshape(2, 2, 3)),
    "several axes summed": lambda x: jnp.einsum("ij,ijk->k", x, jnp.stack([x, 2 * x], axis=-1)),
    "a large product": lambda x: jnp.tile(x, (8, 8)) @ jnp.tile(x.T, (8, 8)),
    "product of small integers": lambda x: (x.astype(jnp.int8) @ x.T.astype(jnp.int8), (x > 1) @ (x.T > 2)),
    "product of half precision": lambda x: (10 * x).astype(jnp.bfloat16) @ x.T.astype(jnp.bfloat16),
    "solve": lambda x: jnp.linalg.solve(x[:3] + 9 * jnp.eye(3), x[3]),
    "sort": lambda x: jnp.sort(x, axis=0),
    "a function of its own": lambda x: jax.jit(jnp.cross)(x, x[::-1]),
    "own derivative": lambda x: jax.nn.relu(x - 1) + jax.nn.softplus(x),
    "scan": lambda x: lax.scan(lambda c, row: (c + row.sum(), c * row), 0.0, x),
    "scan with constants": lambda x: lax.scan(lambda c, k: (c + k * x[0], c), x[1], np.arange(3.0, dtype=np.float32)),
    "scan backwards": lambda x: lax.scan(lambda c, _: (c * 2, c), x, length=3, reverse=True),
    "scan that counts": lambda x: lax.scan(lambda c, row: (c + 1, row[c % 3]), 0, x),
    "while": newton,
    "while, as often as each lane says": lambda x: count_to(x[0, 0].astype(jnp.int32), x),
    "while, equally often": lambda x: count_to(3, x),
    "while, not once": lambda x: count_to(jnp.asarray(0), x),
    "for": lambda x: lax.fori_loop(0, 3, lambda k, y: y + y[k], x),
    "cond": lambda x: lax.cond(x[0, 0] > 2, jnp.sin, jnp.cos, x),
    "switch": lambda x: lax.switch(way_of_three(x), [jnp.sin, jnp.cos, lambda x: jnp.ones((4, 3))], x),
    "switch for all": lambda x: lax.switch(jnp.asarray(2), [jnp.sin, lambda x: jnp.ones((4, 3)), jnp.cos], x),
    "cond of keys": lambda x: jax.random.uniform(lax.cond(x[0, 0] > 2, jax.random.key, lambda _: jax.random.key(3), 5)),
    "cond for all": lambda x: lax.cond(jnp.asarray(True), jnp.sin, jnp.cos, x),
    "keys": lambda x: jax.random.normal(jax.random.fold_in(jax.random.key(3), x[0, 0].astype(jnp.int32)), (2, 3)),
}


def moved(tree):
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), tree)


def assert_alike(got, wanted, **tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, **tolerance)


def example():
    return 3 * jax.random.uniform(jax.random.key(0), (LANES, 4, 3))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_kind_of_operation(name):
    """The oracle is `jax.vmap`, along the first axis."""
    x = example()
    with jax.numpy_rank_promotion("allow"):
        wanted = moved(jax.vmap(FUNCTIONS[name])(x))
        assert_alike(jax.jit(vmap_last(FUNCTIONS[name]))(moved(x)), wanted, rtol=2e-5, atol=1e-5)


def test_lanes_go_every_way():
    """In the examples above, or a choice that is always the same would do for them."""
    x = example()
    assert set(map(int, jax.vmap(way_of_three)(x))) == {0, 1, 2}
    assert {bool(y) for y in x[:, 0, 0] > 2} == {True, False}
    assert len({int(y) for y in x[:, 0, 0]}) > 1


def test_a_weak_type_stays_weak():
    x = jnp.broadcast_to(1.0, (LANES,))
    assert x.weak_type
    product = lambda a: a * jnp.ones(2, jnp.bfloat16)
    assert jax.eval_shape(vmap_last(product), x).dtype == jax.eval_shape(jax.vmap(product), x).dtype == jnp.bfloat16


@pytest.mark.parametrize("shapes", [[(5,), (3,)], [(5,), (1,)], [(5,), ()], [()], []], ids=str)
def test_equally_many_lanes(shapes):
    with pytest.raises(ValueError, match="last axes of one size"):
        vmap_last(lambda *leaves: leaves)(*map(jnp.ones, shapes))


def test_trees_none_and_keys():
    """What has several arguments, leaves of other shapes, and keys among them."""

    def function(tree, key, nothing):
        assert nothing is None
        return {"sum": tree["a"] + tree["b"].sum(), "key": jax.random.split(key)[0]}

    keys = jax.random.split(jax.random.key(1), LANES)
    tree = {"a": jnp.arange(LANES, dtype=jnp.float32), "b": jnp.ones((LANES, 2))}
    got = vmap_last(function)(moved(tree), keys, None)
    wanted = jax.vmap(function)(tree, keys, None)
    np.testing.assert_allclose(got["sum"], wanted["sum"])
    np.testing.assert_array_equal(jax.random.key_data(got["key"]), jax.random.key_data(wanted["key"]))


brax_own_habits = pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")


def played(reset, step, keys, actions):
    """The last observations, and all rewards."""
    state, rewards = reset(keys), []
    for action in actions:
        state = step(state, action)
        rewards.append(state.reward)
    return state.obs, jnp.stack(rewards)


@brax_own_habits
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("inverted_pendulum", "spring"),
        pytest.param("hopper", "spring", marks=pytest.mark.slow),
        pytest.param("inverted_pendulum", "positional", marks=pytest.mark.slow),
        pytest.param("inverted_pendulum", "generalized", marks=pytest.mark.slow),
        pytest.param("reacher", "mjx", marks=pytest.mark.slow),
    ],
)
def test_environments(name, backend):
    """A few steps of physics, before chaos makes much of rounding."""
    environment = brax_environment(name, backend)
    keys = jax.random.split(jax.random.key(0), LANES)
    actions = jax.random.uniform(jax.random.key(1), (3, LANES, environment.action_size), minval=-1.0)
    reset, step = side_by_side(environment, lanes_last=True)
    last = lambda k, a: played(functools.partial(reset, None), functools.partial(step, None), k, a)
    first = functools.partial(played, jax.vmap(environment.reset), jax.vmap(environment.step))
    got = jax.jit(last)(keys, jnp.moveaxis(actions, 1, 2))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        observation, rewards = jax.jit(first)(keys, actions)
    assert_alike(got, (observation.T, rewards), rtol=1e-3, atol=1e-4)


@brax_own_habits
def test_physics_on_spring_keeps_its_axis(monkeypatch):
    """Nothing of a hopper's step is left to `jax.vmap`, or time would be lost without anyone noticing."""

    def refuse(operation, _):
        raise AssertionError(f"no rule for {operation}")

    environment = brax_environment("hopper", "spring")
    reset, step = side_by_side(environment, lanes_last=True)
    start = jax.eval_shape(lambda k: reset(None, k), jax.random.split(jax.random.key(0), LANES))
    monkeypatch.setattr(_vmap_last, "by_vmap", refuse)
    jax.eval_shape(lambda s, a: step(None, s, a), start, jnp.zeros((environment.action_size, LANES)))
