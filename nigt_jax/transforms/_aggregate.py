"""Aggregation over a named axis: every shard brings a sum of gradients and how many it summed."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nigt_jax.collectives import sum_over
from nigt_jax.transforms._composition import LocalMeanState, ShardMeanState
from nigt_jax.transforms._numerics import accumulator_of, as_arrays, as_known, check_inexact, leaf_name, on_real

AxisName = Hashable | tuple[Hashable, ...] | None


def rennala_mean(axis_name: AxisName) -> optax.GradientTransformationExtraArgs:
    r"""The mean over all counted gradients, whichever shard counted them: one AllReduce of (sum, count).

    .. math::
        \frac{\sum_i S_i}{\sum_i M_i}

    where shard i summed :math:`M_i` gradients into :math:`S_i`. Unbiased where every shard draws from the same
    distribution; a shard that counts more weighs more, so with different distributions use :func:`malenia_mean`.

    It comes first in a chain. ``MultiSteps`` around it would lose counts, and ``apply_if_finite`` around it would let a
    shard skip the collective: put them around what follows, as in
    ``chain(rennala_mean(axis), apply_if_finite(nigt(...), n))``.

    Args:
      axis_name: a named axis of ``jax.pmap``, ``jax.shard_map`` or ``jax.vmap``, a tuple of them, or None for one
        shard.

    Returns:
      A transformation with ``update(updates, state, params=None, *, count)``: `updates` is this shard's *sum*, `count`
      (a scalar) how many gradients it holds. The result is the same on every shard, and zero where nothing was
      counted. A shard whose count is zero contributes nothing, whatever its `updates` hold. A count that is traced and
      negative or not finite makes the result NaN.

      Under ``jax.shard_map`` with ``check_vma=True``, its default, `updates` have to vary over the axis:

      - ``jax.grad`` with respect to parameters that are the same on every shard gives the sum over all shards. Let it
        see parameters that vary: ``jax.grad(loss)(jax.lax.pcast(params, axis_name, to="varying"), ...)``.
      - A sum that really is the same on every shard looks the same. It needs ``jax.lax.pcast`` too, and then counts
        once for every shard.

      The two cannot be told apart, so `updates` that do not vary are refused.

    Raises:
      ValueError: `count` is not a scalar, negative, or not finite; `updates` that do not vary over the axis where JAX
        keeps track of it.
      TypeError: `updates` that are integers or no numbers; a `count` that is no number.

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
        total, counted = sum_over(axis_name, (mine, count))
        return over(total, counted)

    return aggregation(axis_name, combine)


def malenia_mean(axis_name: AxisName) -> optax.GradientTransformationExtraArgs:
    r"""The mean over shards of each shard's own mean, so that a fast shard weighs no more than a slow one.

    .. math::
        \frac{1}{n} \sum_i \frac{S_i}{M_i}

    Unbiased for the mean of different objectives, one a shard. Zero where any shard has counted nothing: a mean that
    silently left one out would be biased. It comes first in a chain, as :func:`rennala_mean` does.

    Args:
      axis_name: a named axis of ``jax.pmap``, ``jax.shard_map`` or ``jax.vmap``, a tuple of them, or None for one
        shard.

    Returns:
      A transformation with ``update(updates, state, params=None, *, count)``, as :func:`rennala_mean` has, which wants
      the same `updates` under ``jax.shard_map``.

    Raises:
      ValueError, TypeError: as :func:`rennala_mean`.

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
        present = jnp.sign(count)
        total, here, shards = sum_over(axis_name, (over(updates, count), present, jnp.ones_like(present)))
        return over(total, jnp.where(here < shards, 0, here))

    return aggregation(axis_name, combine)


def aggregation(
    axis_name: AxisName, combine: Callable[[optax.Updates, jax.Array], optax.Updates]
) -> optax.GradientTransformationExtraArgs:
    """The transformation that combines by a function, and checks what it is given.

    Args:
      axis_name: as of :func:`rennala_mean`.
      combine: (this shard's sum, its count in float32) to the result, which is the same on every shard.
    """
    state_type = LocalMeanState if axis_name is None else ShardMeanState

    def init(params: optax.Params) -> LocalMeanState | ShardMeanState:
        del params
        return state_type()

    def update(
        updates: optax.Updates,
        state: LocalMeanState | ShardMeanState,
        params: optax.Params | None = None,
        *,
        count: jax.typing.ArrayLike,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LocalMeanState | ShardMeanState]:
        del params, extra_args
        updates = as_arrays(updates, "gradient")
        check_inexact(updates)
        _check_varying(updates, axis_name)
        return combine(updates, _checked(count)), state

    return optax.GradientTransformationExtraArgs(init, update)


def _checked(count: Any) -> jax.Array:
    """The count in float32; where it is out of range an error or, as far as it is traced, NaN."""
    if not isinstance(count, int | float | np.generic | np.ndarray | jax.Array):
        raise TypeError(f"count is how many gradients this shard summed, a number, got {count!r}")
    if jnp.ndim(count) != 0:
        raise ValueError(f"count is one number a shard, got shape {jnp.shape(count)}")
    known = as_known(count)
    if known is not None and not 0 <= known < np.inf:
        raise ValueError(f"count is how many gradients this shard summed, finite and not negative, got {count}")
    number = jnp.asarray(count, jnp.float32)
    return jnp.where((number >= 0) & (number < jnp.inf), number, jnp.nan)


def _check_varying(updates: optax.Updates, axis_name: AxisName) -> None:
    """ValueError for updates that JAX knows to be the same along the axis: they cannot be each shard's own sum.

    Under vmap, pmap and shard_map with ``check_vma=False`` JAX does not keep track, and not even the index varies.
    """
    axes = () if axis_name is None else axis_name if isinstance(axis_name, tuple) else (axis_name,)
    tracked = [axis for axis in axes if axis in _axes_of(jax.lax.axis_index(axis))]
    for path, s in jax.tree_util.tree_leaves_with_path(updates):
        same = [axis for axis in tracked if axis not in _axes_of(s)]
        if same:
            raise ValueError(
                f"{leaf_name(path, 'gradient')} does not vary over {', '.join(map(repr, same))}: jax.grad sums it over "
                "shards where they all have the same parameters. Differentiate at "
                f"jax.lax.pcast(params, {tuple(same)!r}, to='varying'), or pass check_vma=False to jax.shard_map; "
                "pcast a sum that is the same on every shard"
            )


def _axes_of(x: jax.Array) -> frozenset[Hashable]:
    """The named axes along which JAX knows that x varies."""
    kind: Any = jax.typeof(x)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma  # as earlier versions say


def over(total: optax.Updates, count: jax.Array) -> optax.Updates:
    """The total over count, or zeros, whatever the total holds, where count is zero. A count of NaN shows."""
    nothing = count == 0
    divisor = jnp.where(nothing, 1, count)

    def mean(s: jax.Array) -> jax.Array:
        wide = accumulator_of(s)  # bfloat16 cannot say 257, nor float16 100000
        return jnp.where(nothing, 0, (s.astype(wide) / divisor.astype(wide)).astype(s.dtype))

    return jax.tree.map(functools.partial(on_real, mean), total)
