r"""Aggregation that a few shards with arbitrary gradients cannot spoil.

Every rule here is the usual one applied to a list in which each shard's mean stands as many times as it has *voices*:
as often as it has counted gradients, or once. So a rule that tolerates a share of the voices tolerates that share of
the *gradients* in the first case, of which a fast shard has many, and of the *shards* in the second, where a single
noisy gradient counts as much as the mean of a hundred.

A shard that has counted nothing, or brings a number that is not finite, has no voice.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from nigt_jax.transforms._aggregate import AxisName, aggregation, over
from nigt_jax.transforms._numerics import as_arrays, as_known

Rule = Callable[[jax.Array, jax.Array], jax.Array]
"""(gradients [shards, numbers], voices [shards]) to one gradient [numbers]; a shard without a voice is not there."""


def robust_mean(
    axis_name: AxisName, rule: Rule, voices: Literal["gradients", "shards"] = "shards"
) -> optax.GradientTransformationExtraArgs:
    """A robust rule over the shards' own means: one AllGather.

    It comes first in a chain, as :func:`nigt_jax.rennala_mean` does.

    Args:
      axis_name: a named axis of ``jax.pmap``, ``jax.shard_map`` or ``jax.vmap``, a tuple of them, or None for one
        shard.
      rule: :func:`trimmed_mean`, :func:`coordinate_median`, :func:`mean_around_median`, :func:`multi_krum`,
        :func:`geometric_median`, :func:`filtered_mean`, or a function of one's own.
      voices: whether a shard counts as often as it has counted gradients, or once.

    Returns:
      A transformation with ``update(updates, state, params=None, *, count)``, as :func:`nigt_jax.rennala_mean` has.
      The result is the same on every shard, and zero where nobody has a voice.

    Raises:
      ValueError: `voices` is neither of the two.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from nigt_jax.transforms import coordinate_median, robust_mean
      >>> tx = robust_mean("workers", coordinate_median())
      >>> robust = lambda total, count: tx.update(total, tx.init(total), count=count)[0]
      >>> print(jax.vmap(robust, axis_name="workers")(jnp.array([2.0, 6.0, -1e9]), jnp.array([2, 3, 1])))
      [1. 1. 1.]
    """
    if voices not in ("gradients", "shards"):
        raise ValueError(f"voices: got {voices!r}, allowed: 'gradients', 'shards'")

    def combine(updates: optax.Updates, count: jax.Array) -> optax.Updates:
        mine, back = ravel_pytree(as_arrays(over(updates, count), "gradient"))
        votes = count if voices == "gradients" else jnp.sign(count)
        gradients, weights = _gathered(axis_name, (mine, votes))
        gradients = gradients.reshape(-1, mine.size)
        sound = jnp.isfinite(gradients).all(axis=1)
        weights = jnp.where(sound, weights.reshape(-1), 0)
        found = rule(jnp.where(sound[:, None], gradients, 0), weights)
        return back(jnp.where(weights.sum() > 0, found, 0))

    return aggregation(axis_name, combine)


def trimmed_mean(tolerated: Any) -> Rule:
    """The mean of each coordinate without a share of the voices at either end (Yin et al., arXiv 1803.01498).

    Args:
      tolerated: the share, in [0, 0.5); may be traced, as that of the other rules.

    Raises:
      ValueError: `tolerated` is not in that range.
    """
    _check_share(tolerated)

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        total, left_out = _shares(voices, tolerated)
        return _mean_between(gradients, gradients, voices, left_out, total - left_out)

    return rule


def coordinate_median() -> Rule:
    """The median of each coordinate; between two in the middle, their mean."""

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        below = jnp.floor((voices.sum() - 1) / 2)
        return _mean_between(gradients, gradients, voices, below, voices.sum() - below)

    return rule


def mean_around_median(tolerated: Any) -> Rule:
    """MeaMed: the mean of each coordinate without the share that is farthest from its median (arXiv 1802.10116).

    Args:
      tolerated: the share, in [0, 0.5).

    Raises:
      ValueError: `tolerated` is not in that range.
    """
    _check_share(tolerated)

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        total, left_out = _shares(voices, tolerated)
        distance = jnp.abs(gradients - coordinate_median()(gradients, voices)[None])
        return _mean_between(distance, gradients, voices, jnp.zeros_like(total), total - left_out)

    return rule


def multi_krum(tolerated: Any) -> Rule:
    """The mean without the share whose nearest others are farthest away (Blanchard et al., NeurIPS 2017).

    Of N voices, with f left out, each is judged by the sum of squared distances to the N - f - 2 that are nearest.

    Args:
      tolerated: the share, in [0, 0.5).

    Raises:
      ValueError: `tolerated` is not in that range.
    """
    _check_share(tolerated)

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        total, left_out = _shares(voices, tolerated)
        near = jnp.maximum(total - left_out - 1, 1)  # itself included, at distance 0

        def score(own: jax.Array) -> jax.Array:
            distance = jnp.square(gradients - own[None]).sum(axis=1)[:, None]
            return _mean_between(distance, distance, voices, jnp.zeros_like(near), near)[0]

        scores = jax.lax.map(score, gradients)[:, None]
        return _mean_between(scores, gradients, voices, jnp.zeros_like(total), total - left_out)

    return rule


def geometric_median(iterations: int = 64) -> Rule:
    """The point of least total distance, by Weiszfeld's iterations from the coordinate median.

    Args:
      iterations: how many.
    """

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        start = coordinate_median()(gradients, voices)
        scale = jnp.max(jnp.where(voices > 0, _lengths(gradients - start[None]), 0))
        least = 1e-6 * jnp.where(scale > 0, scale, 1)  # where a gradient itself is the point

        def closer(_: Any, point: jax.Array) -> jax.Array:
            weights = voices / jnp.maximum(_lengths(gradients - point[None]), least)
            return (weights / weights.sum()) @ gradients

        return jax.lax.fori_loop(0, iterations, closer, start)

    return rule


def filtered_mean(radius: Any, tolerated: Any, wider: Any = None) -> Rule:
    r"""FedPG-BR's filter: the mean of all that are near one that most are near.

    Candidates have more than half of the voices within `radius`. The one nearest to their mean is trusted, and whoever
    is within `radius` of it is kept. Where fewer than the share that has to be honest are kept, all is done again with
    `wider`. The source has a radius of :math:`2 \sigma \sqrt{V / B}` for means of B gradients,
    :math:`V = 2 \ln(2K / \delta)`, and :math:`2 \sigma` for `wider`; this comes from its code.

    Args:
      radius: distance that honest shards' means keep, in the gradients' own unit.
      tolerated: the share of voices that may be dishonest, in [0, 0.5).
      wider: the distance of the second attempt; None for twice the radius.

    Raises:
      ValueError: `tolerated` is not in that range.

    References:
      Fan et al., `Fault-Tolerant Federated Reinforcement Learning with Theoretical Guarantee
      <https://arxiv.org/abs/2110.14074>`_, 2021
    """
    _check_share(tolerated)

    def rule(gradients: jax.Array, voices: jax.Array) -> jax.Array:
        total, left_out = _shares(voices, tolerated)
        distances = jax.lax.map(lambda own: _lengths(gradients - own[None]), gradients)

        def kept_within(limit: jax.Array) -> jax.Array:
            popular = jnp.where((distances <= limit).astype(voices.dtype) @ voices > total / 2, voices, 0)
            centre = popular @ gradients / jnp.maximum(popular.sum(), 1)
            trusted = jnp.argmin(jnp.where(popular > 0, _lengths(gradients - centre[None]), jnp.inf))
            return jnp.where((distances[trusted] <= limit) & (popular.sum() > 0), voices, 0)

        near = jnp.asarray(radius, jnp.float32)
        first, limit = kept_within(near), 2 * near if wider is None else jnp.asarray(wider, jnp.float32)
        enough = first.sum() >= total - left_out
        kept = jnp.where(enough & (first.sum() > 0), first, kept_within(limit))
        return kept @ gradients / jnp.maximum(kept.sum(), 1)

    return rule


def _mean_between(keys: jax.Array, values: jax.Array, voices: jax.Array, low: Any, high: Any) -> jax.Array:
    """The mean of the voices number low + 1 to high, in each column, when sorted by its keys."""
    order = jnp.broadcast_to(jnp.argsort(keys, axis=0), values.shape)
    sorted_values, own = jnp.take_along_axis(values, order, axis=0), voices[order]
    until = jnp.cumsum(own, axis=0)
    kept = jnp.clip(until, low, high) - jnp.clip(until - own, low, high)
    return (kept * sorted_values).sum(axis=0) / jnp.maximum(high - low, 1)


def _check_share(tolerated: Any) -> None:
    known = as_known(tolerated)
    if known is not None and not 0 <= known < 0.5:
        raise ValueError(f"tolerated: got {known}, allowed: 0 or more, and less than 0.5")


def _shares(voices: jax.Array, tolerated: Any) -> tuple[jax.Array, jax.Array]:
    """All voices, and those that are left out; a third of three is one."""
    total = voices.sum()
    return total, jnp.floor(tolerated * total + 1e-4)


def _lengths(vectors: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(vectors).sum(axis=1))


def _gathered(axis_name: AxisName, tree: Any) -> Any:
    """Every shard's, along a new first axis; axes of axis_name one after the other."""
    if axis_name is None:
        return jax.tree.map(lambda x: x[None], tree)
    axes = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    return functools.reduce(lambda x, axis: jax.lax.all_gather(x, axis), reversed(axes), tree)
