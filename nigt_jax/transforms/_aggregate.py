"""Aggregation over a named axis: every shard brings a sum of gradients and how many it summed."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nigt_jax.transforms._numerics import accumulator_of, check_inexact, on_real

AxisName = Hashable | tuple[Hashable, ...] | None


def rennala_mean(axis_name: AxisName) -> optax.GradientTransformationExtraArgs:
    r"""The mean over all counted gradients, whichever shard counted them: one AllReduce of (sum, count).

    .. math::
        \frac{\sum_i S_i}{\sum_i M_i}

    where shard i summed :math:`M_i` gradients into :math:`S_i`. Unbiased where every shard draws from the same
    distribution; a shard that counts more weighs more, so with different distributions use :func:`malenia_mean`.

    Args:
      axis_name: a named axis of ``jax.pmap``, ``jax.shard_map`` or ``jax.vmap``, a tuple of them, or None for one
        shard.

    Returns:
      A transformation with ``update(updates, state, params=None, *, count)``: `updates` is this shard's *sum*, `count`
      (a scalar) how many gradients it holds. The result is the same on every shard, and zero where nothing was
      counted. A shard whose count is zero contributes nothing, whatever its `updates` hold.

    Raises:
      ValueError: `count` is not a scalar.
      TypeError: integer `updates`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> import nigt_jax
      >>> tx = nigt_jax.rennala_mean("workers")
      >>> mean = lambda total, count: tx.update(total, tx.init(total), count=count)[0]
      >>> print(jax.vmap(mean, axis_name="workers")(jnp.array([6.0, 0.0, 3.0]), jnp.array([2, 0, 1])))
      [3. 3. 3.]

    References:
      Tyurin et al., `Asynchronous Policy Gradient Aggregation for Efficient Distributed Reinforcement Learning
      <https://arxiv.org/abs/2509.24305>`_, 2025 (its AggregateRennala)
    """

    def combine(updates: optax.Updates, count: jax.Array) -> optax.Updates:
        mine = jax.tree.map(lambda s: jnp.where(count > 0, s, 0), updates)
        total, counted = _sum_over(axis_name, (mine, count))
        return _over(total, counted)

    return _aggregation(combine)


def malenia_mean(axis_name: AxisName) -> optax.GradientTransformationExtraArgs:
    r"""The mean over shards of each shard's own mean, so that a fast shard weighs no more than a slow one.

    .. math::
        \frac{1}{n} \sum_i \frac{S_i}{M_i}

    Unbiased for the mean of different objectives, one a shard. Zero where any shard has counted nothing: a mean that
    silently left one out would be biased.

    Args:
      axis_name: a named axis of ``jax.pmap``, ``jax.shard_map`` or ``jax.vmap``, a tuple of them, or None for one
        shard.

    Returns:
      A transformation with ``update(updates, state, params=None, *, count)``, as :func:`rennala_mean` has.

    Raises:
      ValueError: `count` is not a scalar.
      TypeError: integer `updates`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> import nigt_jax
      >>> tx = nigt_jax.malenia_mean("workers")
      >>> mean = lambda total, count: tx.update(total, tx.init(total), count=count)[0]
      >>> print(jax.vmap(mean, axis_name="workers")(jnp.array([6.0, 5.0]), jnp.array([2, 1])))
      [4. 4.]

    References:
      Tyurin et al., `Asynchronous Policy Gradient Aggregation for Efficient Distributed Reinforcement Learning
      <https://arxiv.org/abs/2509.24305>`_, 2025 (its AggregateMalenia)
    """

    def combine(updates: optax.Updates, count: jax.Array) -> optax.Updates:
        present = (count > 0).astype(jnp.float32)
        total, here, shards = _sum_over(axis_name, (_over(updates, count), present, jnp.ones_like(present)))
        return _over(total, jnp.where(here == shards, shards, 0))

    return _aggregation(combine)


def _aggregation(
    combine: Callable[[optax.Updates, jax.Array], optax.Updates],
) -> optax.GradientTransformationExtraArgs:
    def init(params: optax.Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        count: jax.typing.ArrayLike,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params, extra_args
        if jnp.ndim(count) != 0:
            raise ValueError(f"count is one number a shard, got shape {jnp.shape(count)}")
        check_inexact(updates)
        return combine(updates, jnp.asarray(count, jnp.float32)), state

    return optax.GradientTransformationExtraArgs(init, update)


def _sum_over(axis_name: AxisName, tree: Any) -> Any:
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def _over(total: optax.Updates, count: jax.Array) -> optax.Updates:
    """The total over count, or zeros, whatever the total holds, where count is zero."""
    some = count > 0
    divisor = jnp.where(some, count, 1)

    def mean(s: jax.Array) -> jax.Array:
        wide = accumulator_of(s)  # bfloat16 cannot say 257, nor float16 100000
        return jnp.where(some, (s.astype(wide) / divisor.astype(wide)).astype(s.dtype), 0)

    return jax.tree.map(functools.partial(on_real, mean), total)
