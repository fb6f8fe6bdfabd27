"""The aggregations under jax.shard_map as it is by default: it keeps track of what varies from shard to shard."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from nigt_jax.transforms import malenia_mean, nigt, nigt_eval_params, rennala_mean

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "unused": jnp.ones(2)}
TARGETS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
COUNTS = np.array([1, 2, 4, 5, 1, 3, 1, 7], np.float32)
GRADIENTS = 2 * (np.array([1.0, -2.0, 3.0]) - TARGETS)  # of each shard's loss, its sum of COUNTS[i] gradients
MEANS = {
    rennala_mean: GRADIENTS.sum(0) / COUNTS.sum(),
    malenia_mean: (GRADIENTS / COUNTS[:, None]).mean(0),
}
both_rules = pytest.mark.parametrize("make", MEANS)
shapes = pytest.mark.parametrize("shape", [{"i": 8}, {"i": 2, "j": 4}], ids=["one axis", "two axes"])


def loss(params, target):
    return jnp.sum((params["w"] - target) ** 2)


def varying(params, axes):
    return jax.lax.pcast(params, axes, to="varying")


def sharded(body, shape, *arrays, **options):
    """The body on every shard, compiled; its result is one that all shards have."""
    axes = tuple(shape)
    mesh = jax.make_mesh(tuple(shape.values()), axes, axis_types=(AxisType.Auto,) * len(axes))
    specs = (P(), *(P(axes) for _ in arrays))
    return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=specs, out_specs=P(), **options))(PARAMS, *arrays)


def mean_of(make, axes, gradients, count):
    tx = make(axes if len(axes) > 1 else axes[0])
    return tx.update(gradients, tx.init(PARAMS), count=count)[0]


@both_rules
@shapes
def test_gradients_that_jax_has_summed_are_refused(make, shape):
    def body(params, target, count):
        return mean_of(make, tuple(shape), jax.grad(loss)(params, target[0]), count[0])

    with pytest.raises(
        ValueError, match=r"\['unused'\] does not vary over 'i'.*pcast\(params, \('i',.*check_vma=False"
    ):
        sharded(body, shape, TARGETS, COUNTS)
    untracked = sharded(body, shape, TARGETS, COUNTS, check_vma=False)
    np.testing.assert_allclose(untracked["w"], MEANS[make], rtol=1e-5)


@both_rules
@shapes
def test_gradients_at_varying_parameters_are_each_shards_own(make, shape):
    """Of a parameter that the loss does not use too, and the mean is the same on every shard for JAX as well."""

    def body(params, target, count):
        gradients = jax.grad(loss)(varying(params, tuple(shape)), target[0])
        return mean_of(make, tuple(shape), gradients, count[0])

    got = sharded(body, shape, TARGETS, COUNTS)
    np.testing.assert_allclose(got["w"], MEANS[make], rtol=1e-5)
    np.testing.assert_array_equal(got["unused"], 0)


@both_rules
def test_the_axis_over_which_they_do_not_vary_is_named(make):
    def body(params, target, count):
        gradients = jax.grad(loss)(varying(params, ("i",)), target[0])
        return mean_of(make, ("i", "j"), gradients, count[0])

    with pytest.raises(ValueError, match=r"does not vary over 'j': "):
        sharded(body, {"i": 2, "j": 4}, TARGETS, COUNTS)


@both_rules
def test_one_axis_of_two(make):
    """The shards along j have the same data: only i is aggregated over, and nothing varies over j."""

    def body(params, target, count):
        gradients = jax.grad(loss)(varying(params, ("i",)), target[0])
        return mean_of(make, ("i",), gradients, count[0])

    mesh = jax.make_mesh((4, 2), ("i", "j"), axis_types=(AxisType.Auto,) * 2)
    run = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=(P(), P("i"), P("i")), out_specs=P()))
    g, m = GRADIENTS[:4], COUNTS[:4]
    expected = g.sum(0) / m.sum() if make is rennala_mean else (g / m[:, None]).mean(0)
    np.testing.assert_allclose(run(PARAMS, TARGETS[:4], COUNTS[:4])["w"], expected, rtol=1e-5)


@both_rules
def test_a_sum_that_is_the_same_on_every_shard_counts_once_for_each(make):
    same = {"w": jnp.array([6.0, 3.0, 0.0])}
    with pytest.raises(ValueError, match=r"\['w'\] does not vary"):
        sharded(lambda _: mean_of(make, ("i",), same, 3), {"i": 8})
    got = sharded(lambda _: mean_of(make, ("i",), varying(same, ("i",)), 3), {"i": 8})
    np.testing.assert_allclose(got["w"], [2.0, 1.0, 0.0])


def test_a_training_loop_of_the_default_form():
    """Two rounds, compiled: query point and iterate are one machine's, and both replicated as JAX sees it."""
    tx = optax.chain(rennala_mean("i"), nigt(0.1, 0.75))

    def body(params, target, count):
        state = tx.init(params)
        for _ in range(2):
            gradients = jax.grad(loss)(varying(params, ("i",)), target[0])
            updates, state = tx.update(gradients, state, params, count=count[0])
            params = optax.apply_updates(params, updates)
        return params["w"], nigt_eval_params(state, params)["w"]

    theta = query = before = np.array([1.0, -2.0, 3.0])
    d = None
    for _ in range(2):
        g = 2 * (query - TARGETS).sum(0) / COUNTS.sum()
        d = g if d is None else 0.75 * d + 0.25 * g
        before, theta = theta, theta - 0.1 * d / np.linalg.norm(d)
        query = theta + 3 * (theta - before)
    for mine, wanted in zip(sharded(body, {"i": 8}, TARGETS, COUNTS), (query, theta), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)
