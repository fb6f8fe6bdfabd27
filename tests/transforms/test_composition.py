"""Orders of optax's wrappers: refused where they lose something and the state shows it, and right otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from nigt_jax.transforms import malenia_mean, nigt, nigt_eval_params, rennala_mean

PARAMS = jnp.array([1.0, -2.0, 3.0])
MEANS = pytest.mark.parametrize("mean", [rennala_mean, malenia_mean])


def steps(tx, rounds, params=PARAMS):
    """Query point and iterate after rounds of (sum, count)."""
    state, update = tx.init(params), jax.jit(tx.update)
    for total, count in rounds:
        updates, state = update(total, state, params, count=count)
        params = optax.apply_updates(params, updates)
    return params, nigt_eval_params(state, params)


ROUNDS = [(jnp.array([2.0, 4.0, 0.0]), 2.0), (jnp.zeros(3), 0.0), (jnp.array([3.0, -3.0, 6.0]), 3.0)]


@MEANS
@pytest.mark.parametrize("axis", [None, "shards"])
def test_multi_steps_around_a_mean_is_refused(mean, axis):
    """It hands on the last count alone: counts 2 and 0 would lose both gradients."""
    for wrap in (lambda tx: optax.MultiSteps(tx, 2), lambda tx: optax.chain(optax.flatten(optax.MultiSteps(tx, 2)))):
        state = wrap(optax.chain(mean(axis), nigt(0.1))).init(PARAMS)
        with pytest.raises(ValueError, match=r"MultiSteps around .*last `count` alone.*chain\(rennala_mean\(axis\)"):
            nigt_eval_params(state, PARAMS)


def test_sums_and_counts_that_are_added_lose_nothing():
    """Counts 2, 0 and 3 in one update: the mean of the five gradients."""
    total, count = (sum(x[1:], x[0]) for x in zip(*ROUNDS, strict=True))
    _, theta = steps(optax.chain(rennala_mean(None), nigt(0.1)), [(total, count)])
    d = np.array([5.0, 1.0, 6.0]) / 5
    np.testing.assert_allclose(theta, np.asarray(PARAMS) - 0.1 * d / np.linalg.norm(d), rtol=1e-6)


def test_multi_steps_inside_is_the_mean_of_the_rounds_means():
    rounds = ROUNDS[::2] * 2
    tx = optax.chain(rennala_mean(None), optax.MultiSteps(nigt(0.1, 0.75), 2).gradient_transformation())
    with jax.numpy_dtype_promotion("standard"):  # for MultiSteps
        got = steps(tx, rounds)
    mean = (np.array([1.0, 2.0, 0.0]) + np.array([1.0, -1.0, 2.0])) / 2
    step = -0.1 * mean / np.linalg.norm(mean)
    theta = np.asarray(PARAMS) + 2 * step
    for mine, wanted in zip(got, (theta + 3 * step, theta), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)


@MEANS
def test_apply_if_finite_around_a_mean_over_shards_is_refused(mean):
    state = optax.apply_if_finite(optax.chain(mean("shards"), nigt(0.1)), 3).init(PARAMS)
    with pytest.raises(ValueError, match=r"apply_if_finite around .*collective.*chain\(rennala_mean\(axis\)"):
        nigt_eval_params(state, PARAMS)


def test_apply_if_finite_around_a_mean_of_one_shard_is_not():
    tx = optax.apply_if_finite(optax.chain(rennala_mean(None), nigt(0.1)), 3)
    params, theta = steps(tx, [(jnp.full(3, jnp.nan), 1.0), ROUNDS[0]])
    alone = steps(nigt(0.1), [(jnp.array([1.0, 2.0, 0.0]), 1.0)])
    np.testing.assert_allclose((params, theta), alone, rtol=1e-6)


@MEANS
@pytest.mark.parametrize("check_vma", [True, False])
def test_apply_if_finite_inside_skips_on_every_shard(mean, check_vma):
    """One shard of four has a NaN in the first round; the second round is a step like a first one."""
    tx = optax.chain(mean("shards"), optax.apply_if_finite(nigt(0.1), 3))
    sums = np.arange(12, dtype=np.float32).reshape(4, 3)
    bad = sums.copy()
    bad[2, 1] = np.nan

    def body(params, first, second):
        state = tx.init(params)
        for total in (first, second):
            updates, state = tx.update(total[0], state, params, count=2)
            params = optax.apply_updates(params, updates)
        return nigt_eval_params(state, params)

    mesh = jax.make_mesh((4,), ("shards",), axis_types=(AxisType.Auto,))
    specs = (P(), P("shards"), P("shards"))
    run = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check_vma))
    d = sums.sum(0)
    np.testing.assert_allclose(run(PARAMS, bad, sums), np.asarray(PARAMS) - 0.1 * d / np.linalg.norm(d), rtol=1e-5)


AROUND = {
    "schedule_free": lambda tx: optax.contrib.schedule_free(tx, 0.1),
    "mechanize": optax.contrib.mechanize,
    "conditionally_transform": lambda tx: optax.conditionally_transform(tx, lambda step: step % 2 == 0),
}


@pytest.mark.parametrize("name", AROUND)
def test_a_rescaler_around_nigt_is_refused(name):
    for tx in (AROUND[name](nigt(0.1)), AROUND[name](optax.chain(optax.clip(1.0), nigt(0.1)))):
        with pytest.raises(ValueError, match=f"{name} around nigt"):
            nigt_eval_params(tx.init(PARAMS), PARAMS)


def test_lookahead_around_nigt_is_refused():
    params = optax.LookaheadParams.init_synced(PARAMS)
    state = optax.lookahead(nigt(0.1), 5, 0.5).init(params)
    with pytest.raises(ValueError, match="lookahead around nigt"):
        nigt_eval_params(state, params.slow)


AFTER = {
    "scale_by_schedule": optax.scale_by_schedule(lambda step: 0.5),
    "ema": optax.ema(0.9),
    "trace": optax.trace(0.9),
    "reduce_on_plateau": optax.contrib.reduce_on_plateau(),
}


@pytest.mark.parametrize("name", AFTER)
def test_what_moves_the_query_point_after_nigt_is_refused(name):
    for tx in (optax.chain(nigt(0.1), AFTER[name]), optax.chain(optax.chain(nigt(0.1)), optax.identity(), AFTER[name])):
        with pytest.raises(ValueError, match=f"{name} after nigt.*put nigt last"):
            nigt_eval_params(tx.init(PARAMS), PARAMS)


@pytest.mark.parametrize("name", AFTER)
def test_before_nigt_it_is_not(name):
    state = optax.chain(AFTER[name], nigt(0.1)).init(PARAMS)
    np.testing.assert_array_equal(nigt_eval_params(state, PARAMS), PARAMS)


def test_what_only_looks_on_after_nigt_is_not():
    tx = optax.chain(nigt(0.1), optax.snapshot("size", optax.tree_utils.tree_norm))
    np.testing.assert_array_equal(nigt_eval_params(tx.init(PARAMS), PARAMS), PARAMS)
