"""Reductions over a named axis of devices. ``None`` is an axis of this device alone."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

AXIS = "devices"


def place_on(axis: str | None) -> tuple[Any, int]:
    """The device's index on the axis, and the number of devices on it."""
    return (0, 1) if axis is None else (jax.lax.axis_index(axis), jax.lax.axis_size(axis))


def sum_over(axis: Any, tree: Any) -> Any:
    """The sum over the devices of the axis, on each of them."""
    return tree if axis is None else jax.lax.psum(tree, axis)


def least_over(axis: str | None, numbers: Float[Array, " runs"]) -> Float[Array, " runs"]:
    """The least over the devices of the axis, on each of them.

    It is a sum of what each device puts into a place of its own: XLA joins it to the sums that there are anyway.
    """
    if axis is None:
        return numbers
    me, devices = place_on(axis)
    mine = jnp.arange(devices)[:, None] == me
    return sum_over(axis, jnp.where(mine, numbers[None, :], 0)).min(axis=0)


def gather_over(name: str | None, tree: Any, axis: int) -> Any:
    """The devices' arrays side by side along array axis `axis`, on each device."""
    if name is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, name, axis=axis, tiled=True), tree)
