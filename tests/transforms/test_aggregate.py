"""rennala_mean and malenia_mean against the definitions, under every kind of named axis."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from nigt_jax.transforms import malenia_mean, nigt, nigt_eval_params, rennala_mean

SHARDS = 8
SUMS = np.random.default_rng(0).normal(size=(SHARDS, 3)).astype(np.float32)
COUNTS = np.array([1, 2, 0, 5, 1, 3, 1, 7])


def rennala(sums, counts):
    return sums[counts > 0].sum(0) / counts.sum() if counts.sum() else np.zeros_like(sums[0])


def malenia(sums, counts):
    return (sums / counts[:, None]).mean(0) if counts.all() else np.zeros_like(sums[0])


def mean_of(tx, sums, count):
    return tx.update(sums, tx.init(sums), count=count)[0]


def with_vmap(make, sums, counts):
    return jax.vmap(functools.partial(mean_of, make("i")), axis_name="i")(sums, counts)


def with_vmap_of_two_axes(make, sums, counts):
    one = functools.partial(mean_of, make(("i", "j")))
    fold = lambda x: x.reshape(2, 4, *x.shape[1:])
    both = jax.vmap(jax.vmap(one, axis_name="j"), axis_name="i")(fold(sums), fold(counts))
    return both.reshape(sums.shape)


def with_pmap(make, sums, counts):
    return jax.pmap(functools.partial(mean_of, make("i")), axis_name="i")(sums, counts)


def with_shard_map(make, sums, counts):
    mesh = jax.make_mesh((SHARDS,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    one = lambda s, c: mean_of(make("i"), s[0], c[0])
    mean = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=P("i"), out_specs=P()))(sums, counts)
    return jnp.broadcast_to(mean, sums.shape)


def with_shard_map_of_two_axes(make, sums, counts):
    mesh = jax.make_mesh((2, 4), ("i", "j"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    one = lambda s, c: mean_of(make(("i", "j")), s[0], c[0])
    mean = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=P(("i", "j")), out_specs=P()))(sums, counts)
    return jnp.broadcast_to(mean, sums.shape)


AXES = [with_vmap, with_vmap_of_two_axes, with_pmap, with_shard_map, with_shard_map_of_two_axes]
every_axis = pytest.mark.parametrize("across", AXES, ids=lambda f: f.__name__)
both_rules = pytest.mark.parametrize(("make", "rule"), [(rennala_mean, rennala), (malenia_mean, malenia)])


@every_axis
@both_rules
@pytest.mark.parametrize("counts", [COUNTS, np.maximum(COUNTS, 1), np.zeros_like(COUNTS)], ids=["one 0", "all", "none"])
def test_equals_the_definition_on_every_shard(across, make, rule, counts):
    got = across(make, jnp.asarray(SUMS), jnp.asarray(counts))
    np.testing.assert_allclose(got, np.tile(rule(SUMS, counts), (SHARDS, 1)), rtol=1e-5, atol=1e-7)


@both_rules
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_a_shard_without_gradients_holds_does_not_leak(make, rule, value):
    sums = SUMS.copy()
    sums[2] = value  # its count is 0
    got = with_vmap(make, jnp.asarray(sums), jnp.asarray(COUNTS))
    np.testing.assert_allclose(got, np.tile(rule(SUMS, COUNTS), (SHARDS, 1)), rtol=1e-5)


@both_rules
@pytest.mark.parametrize("count", [4, 4.0, np.int64(4), jnp.int32(4), jnp.float32(4), jnp.bfloat16(4)], ids=repr)
def test_one_shard_and_counts_of_every_kind(make, rule, count):
    del rule
    np.testing.assert_array_equal(mean_of(make(None), jnp.array([2.0, 4.0]), count), [0.5, 1.0])


@both_rules
def test_nothing_counted_on_one_shard(make, rule):
    del rule
    np.testing.assert_array_equal(mean_of(make(None), jnp.array([2.0, jnp.nan]), 0), [0.0, 0.0])


@both_rules
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.complex64], ids=lambda d: d.__name__)
def test_counts_that_the_dtype_of_the_gradients_cannot_say(make, rule, dtype):
    """257 rounds to 256 in bfloat16, and 100000 is infinite in float16."""
    del rule
    for count in (257, 100_000):
        mean = mean_of(make(None), jnp.asarray([60000.0], dtype), count)
        assert mean.dtype == dtype
        expected = jnp.asarray(60000.0, dtype).astype(jnp.complex64) / count
        np.testing.assert_array_equal(
            mean, expected.astype(dtype) if dtype == jnp.complex64 else expected.real.astype(dtype)
        )


@both_rules
def test_bad_arguments(make, rule):
    del rule
    tx = make(None)
    with pytest.raises(ValueError, match=r"one number a shard, got shape \(3,\)"):
        mean_of(tx, jnp.ones(3), jnp.ones(3))
    with pytest.raises(TypeError, match=r"\['w'\].*int32"):
        mean_of(tx, {"w": jnp.ones(3, jnp.int32)}, 1)
    with pytest.raises(TypeError, match="count"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


def two_updates(make):
    """A round of gradients, twice, chained with nigt: params and state as every shard has them."""
    tx = optax.chain(make, nigt(0.1, 0.75))

    def run(params, sums, count):
        state = tx.init(params)
        for factor in (1.0, -0.5):
            updates, state = tx.update(factor * sums, state, params, count=count)
            params = optax.apply_updates(params, updates)
        return params, nigt_eval_params(state, params)

    return run


@both_rules
@pytest.mark.parametrize("kind", ["vmap", "pmap", "shard_map"])
def test_chained_with_nigt_equals_one_machine(make, rule, kind):
    counts = jnp.asarray(np.maximum(COUNTS, 1))
    params = jnp.array([1.0, 2.0, 3.0])
    one_machine = jax.jit(two_updates(rennala_mean(None)))(params, jnp.asarray(rule(SUMS, np.asarray(counts))), 1)
    run = two_updates(make("i"))
    if kind == "shard_map":
        mesh = jax.make_mesh((SHARDS,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
        body = lambda p, s, c: run(p, s[0], c[0])
        shards = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=(P(), P("i"), P("i")), out_specs=P()))
        got = shards(params, jnp.asarray(SUMS), counts)
    else:
        vmap = lambda f, **axes: jax.jit(jax.vmap(f, **axes))
        mapped = (vmap if kind == "vmap" else jax.pmap)(run, axis_name="i", in_axes=(None, 0, 0))
        got = jax.tree.map(lambda x: x[3], mapped(params, jnp.asarray(SUMS), counts))
    for mine, theirs in zip(got, one_machine, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
