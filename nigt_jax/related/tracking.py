"""Mixing what agents have with their neighbours', and tracking the mean of what changes at each of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def mix(weights: Float[Array, "agents agents"], tree: Any) -> Any:
    """What every agent makes of what it hears; leaves have a leading axis of agents."""
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1, precision=jax.lax.Precision.HIGHEST), tree)


def track(weights: Float[Array, "agents agents"], tracker: Any, new: Any, old: Any) -> Any:
    """The trackers after each agent's own value has gone from `old` to `new`: W y + new - old.

    Where the columns of the weights sum to 1, the mean of the trackers stays that of the values, as at the start.
    """
    return jax.tree.map(lambda y, now, before: y + now - before, mix(weights, tracker), new, old)
