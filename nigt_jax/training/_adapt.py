"""What a round shows to a method whose M follows noise and times."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.clocks import Round
from nigt_jax.collectives import sum_over
from nigt_jax.methods import Adapted, AdaptiveHyperparameters, Seen, adapt, halves_show
from nigt_jax.training._parts import Parts


def clock_spent(before: Any, after: Any) -> Float[Array, " runs"]:
    """Time from one state of the clocks to another, to the digits of a float32."""
    return (after.now.high - before.now.high) + (after.now.low - before.now.low)


def adapt_to_round(
    parts: Parts,
    adapted: Adapted,
    step: AdaptiveHyperparameters,
    counted: Round,
    spent: Float[Array, " runs"],
    half: Any,
    gradient: Any,
    weight: Float[Array, " runs"],
) -> Adapted:
    """What is kept after a round; every leaf has a leading axis of runs.

    Args:
      parts: the runs' parts.
      adapted: what was kept before.
      step: the method's hyperparameters.
      counted: the round.
      spent: time of the round with its exchange.
      half: this device's sum of every other gradient, the first among them, like the parameters.
      gradient: its sum of all.
      weight: number of episodes in that.
    """
    half, gradient, weight = sum_over(parts.axis, (half, gradient, weight))

    def of_run(
        adapted: Adapted, step: Any, counted: Round, spent: Array, half: Any, total: Any, weight: Array
    ) -> Adapted:
        number = counted.counts.sum(dtype=jnp.int32)
        first = jnp.ceil(number.astype(jnp.float32) / 2) * parts.trajectories_per_gradient
        means = jax.tree.map(lambda x: x / first, half), jax.tree.map(lambda x: x / weight, total)
        noise, signal = halves_show(*means, number)
        own, broken = counted.counts.astype(jnp.float32), counted.discarded.astype(jnp.float32)
        now = Seen(noise, signal, counted.elapsed, spent - counted.elapsed, own, broken, jnp.ones([]))
        return adapt(adapted, step, now)

    return jax.vmap(of_run)(adapted, step, counted, spent, half, gradient, weight)
