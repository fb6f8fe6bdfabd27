"""Sums over the time that is left."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def return_to_go(
    reward: Float[Array, " time *batch"], discount: float | Float[Array, "*batch"]
) -> Float[Array, " time *batch"]:
    r"""What follows every step, discounted from there: :math:`G_t = \sum_{h \ge t} \gamma^{h-t} r_h`.

    Args:
      reward: of each step.
      discount: gamma, one for all or one for each of the batch.
    """

    def back(following: Array, now: Array) -> tuple[Array, Array]:
        total = now + discount * following
        return total, total

    return jax.lax.scan(back, jnp.zeros_like(reward[0]), reward, reverse=True)[1]
