"""Robust rules against NumPy float64 on lists in which everybody stands as often as he has voices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.transforms import (
    coordinate_median,
    filtered_mean,
    geometric_median,
    mean_around_median,
    multi_krum,
    robust_mean,
    trimmed_mean,
)

DRAW = np.random.default_rng(2)
GRADIENTS = DRAW.normal(size=(9, 4)) * np.array([1.0, 5.0, 0.1, 2.0])
GRADIENTS[2] += 30
GRADIENTS[6] = -20 * GRADIENTS[0]
VOICES = np.array([3, 1, 2, 5, 1, 0, 2, 4, 1])
SHARE = 0.25


def left_out(copies):
    return int(np.floor(SHARE * len(copies) + 1e-9))


def trimmed(copies):
    f = left_out(copies)
    return np.sort(copies, axis=0)[f : len(copies) - f].mean(0)


def around_median(copies):
    kept = len(copies) - left_out(copies)
    order = np.argsort(np.abs(copies - np.median(copies, axis=0)), axis=0, kind="stable")
    return np.take_along_axis(copies, order, axis=0)[:kept].mean(0)


def krum(copies):
    f, squares = left_out(copies), np.square(copies[:, None] - copies[None]).sum(2)
    scores = [np.sort(np.delete(row, i))[: len(copies) - f - 2].sum() for i, row in enumerate(squares)]
    return copies[np.argsort(scores, kind="stable")[: len(copies) - f]].mean(0)


def geometric(copies):
    point = copies.mean(0)
    for _ in range(20_000):
        weights = 1 / np.maximum(np.linalg.norm(copies - point, axis=1), 1e-12)
        point = weights @ copies / weights.sum()
    return point


def filtered(copies, radius=9.0):
    distances = np.linalg.norm(copies[:, None] - copies[None], axis=2)
    for limit in (radius, 2 * radius):
        popular = copies[(distances <= limit).sum(1) > len(copies) / 2]
        if not len(popular):
            continue
        trusted = popular[np.argmin(np.linalg.norm(popular - popular.mean(0), axis=1))]
        kept = copies[np.linalg.norm(copies - trusted, axis=1) <= limit]
        if limit > radius or len(kept) >= (1 - SHARE) * len(copies):
            return kept.mean(0)
    return np.zeros(copies.shape[1])


RULES = {
    "trimmed_mean": (trimmed_mean(SHARE), trimmed),
    "coordinate_median": (coordinate_median(), functools.partial(np.median, axis=0)),
    "mean_around_median": (mean_around_median(SHARE), around_median),
    "multi_krum": (multi_krum(SHARE), krum),
    "geometric_median": (geometric_median(400), geometric),
    "filtered_mean": (filtered_mean(9.0, SHARE), filtered),
}


def combined(rule, gradients, counts, voices):
    """What every shard gets, one a row; shards bring the sums of as many gradients as they have counted."""
    tx = robust_mean("shards", rule, voices)
    tree = lambda sums: {"a": sums[:1], "b": sums[1:]}

    def one(sums, count):
        found = tx.update(tree(sums), tx.init(tree(sums)), count=count)[0]
        return jnp.concatenate([found["a"], found["b"]])

    sums = jnp.asarray(gradients * counts[:, None], jnp.float32)
    return np.asarray(jax.jit(jax.vmap(one, axis_name="shards"))(sums, jnp.asarray(counts)))


@pytest.mark.parametrize("voices", ["gradients", "shards"])
@pytest.mark.parametrize("name", RULES)
def test_equals_the_rule_on_copies(name, voices):
    rule, oracle = RULES[name]
    times = VOICES if voices == "gradients" else np.sign(VOICES)
    wanted = oracle(np.repeat(GRADIENTS, times, axis=0))
    rows = combined(rule, GRADIENTS, VOICES, voices)
    np.testing.assert_allclose(rows, np.broadcast_to(wanted, rows.shape), rtol=2e-4, atol=2e-4)
    assert np.abs(wanted - np.repeat(GRADIENTS, times, axis=0).mean(0)).max() > 0.01


@pytest.mark.parametrize("name", RULES)
def test_garbage_has_no_voice(name):
    """One shard brings NaN, one infinity: everybody has the rule of all others."""
    rule, oracle = RULES[name]
    gradients, ones = GRADIENTS.copy(), np.ones(9, int)
    gradients[3, 1], gradients[8, 0] = np.nan, np.inf
    wanted = oracle(np.delete(GRADIENTS, [3, 8], axis=0))
    np.testing.assert_allclose(combined(rule, gradients, ones, "shards")[0], wanted, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", RULES)
def test_two_of_nine_cannot_move_it_far(name):
    """Where a mean is carried off, a rule stays among the honest."""
    honest = np.random.default_rng(4).normal(size=(9, 4)) + 3
    gradients = honest.copy()
    gradients[[1, 7]] = -1e4
    rule, ones = RULES[name][0], np.ones(9, int)
    found = combined(rule, gradients, ones, "shards")[0]
    assert np.linalg.norm(found - 3) < 3
    assert np.linalg.norm(gradients.mean(0) - 3) > 1000


@pytest.mark.parametrize("name", [name for name in RULES if name != "filtered_mean"])
def test_equal_gradients_are_their_mean(name):
    same = np.broadcast_to(GRADIENTS[1], (5, 4))
    found = combined(RULES[name][0], same, np.array([1, 2, 3, 1, 1]), "gradients")[0]
    np.testing.assert_allclose(found, GRADIENTS[1], rtol=1e-5)


def test_nobody_with_a_voice_is_zero():
    assert (combined(multi_krum(SHARE), GRADIENTS, np.zeros(9, int), "shards") == 0).all()


def test_a_fast_liar_has_many_voices():
    """Of gradients it has most, so it wins; of shards it is one of five."""
    gradients, counts = np.ones((5, 2)), np.array([1, 1, 1, 1, 9])
    gradients[4] = -100
    assert (combined(coordinate_median(), gradients, counts, "gradients") == -100).all()
    assert (combined(coordinate_median(), gradients, counts, "shards") == 1).all()


@pytest.mark.parametrize("rule", [trimmed_mean, mean_around_median, multi_krum, functools.partial(filtered_mean, 1.0)])
@pytest.mark.parametrize("tolerated", [-0.1, 0.5, jnp.float32(0.6)])
def test_a_share_that_cannot_be_tolerated(rule, tolerated):
    with pytest.raises(ValueError, match=r"tolerated: got (-0.1|0.5|0.6).*, allowed: 0 or more, and less than 0.5"):
        rule(tolerated)


def test_voices_are_of_two_kinds():
    with pytest.raises(ValueError, match="voices: got 'gradient', allowed: 'gradients', 'shards'"):
        robust_mean("workers", coordinate_median(), voices="gradient")
