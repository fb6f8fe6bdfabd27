"""rennala_round, malenia_round and synchronous_round on tables of durations, against exact rationals."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_rounds import exact, of_durations

import nigt_jax

ROUND = {
    "rennala": nigt_jax.rennala_round,
    "malenia": nigt_jax.malenia_round,
    "synchronous": nigt_jax.synchronous_round,
}


def assert_same(rule, batch_size, durations, got):
    """What the package says of one table, against the oracle."""
    case = f"{rule}, M {batch_size}, durations {np.asarray(durations).tolist()}"
    wanted = of_durations(rule, int(batch_size), exact(durations))
    assert bool(got.complete) == (wanted is not None), case
    if wanted is not None:
        assert got.counts.tolist() == wanted.counts, case
        assert got.discarded.tolist() == wanted.discarded, case
        np.testing.assert_allclose(got.elapsed, float(wanted.end), rtol=1e-7, err_msg=case)


def compare(rule, durations, batch_sizes):
    """Many tables of one shape in one program."""
    table, sizes = np.array(durations), jnp.asarray(batch_sizes, jnp.int32)
    many = jax.device_get(jax.jit(jax.vmap(ROUND[rule]))(table, sizes))
    for k, batch_size in enumerate(batch_sizes):
        assert_same(rule, batch_size, table[k], jax.tree.map(lambda x: x[k], many))  # noqa: B023


def tables(number, workers, k, seed):
    """Whole durations with many ties, and durations without; now and then a worker that never answers again."""
    rng = np.random.default_rng(seed)
    for case in range(number):
        own = rng.integers(1, 5, (workers, k)) if case % 3 else rng.lognormal(0, 1, (workers, k))
        own = own.astype(np.float32)
        if case % 10 == 9:
            own[rng.integers(workers), rng.integers(k) :] = np.inf
        yield own


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("rule", ["rennala", "synchronous"])
def test_random_tables(rule):
    sizes = np.random.default_rng(0).integers(1, 30, 150).tolist()
    compare(rule, list(tables(150, 5, 8, seed=1)), sizes)


def tied_size(durations, rng):
    """A batch size that meets Malenia's condition with equality when some gradient comes in, if there is one."""
    times = np.cumsum(durations, axis=1)
    found = []
    for now in np.unique(times):
        counts = (times <= now).sum(axis=1)
        if counts.all():
            size = len(durations) ** 2 / sum(Fraction(1, int(c)) for c in counts)
            found += [int(size)] if size.denominator == 1 else []
    return rng.choice(found) if found else rng.integers(1, 30)


def test_malenia_where_its_condition_holds_with_equality():
    rng, some = np.random.default_rng(2), list(tables(200, 5, 8, seed=3))
    compare("malenia", some, [int(tied_size(own, rng)) for own in some])


def test_equal_workers_as_constants_of_the_program():
    durations, batch_size = jnp.ones((13, 4)), 13 * 3
    counted = jax.device_get(jax.jit(lambda: nigt_jax.malenia_round(durations, batch_size))())
    assert_same("malenia", batch_size, durations, counted)
