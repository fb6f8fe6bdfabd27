"""What a round shows to a method whose M follows noise and times."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nigt_jax.clocks import Round, exchange_time
from nigt_jax.methods import Seen, after_round, halves_show
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._parts import Parts


def seen_after(
    parts: Parts,
    seen: Seen,
    hyperparameters: Hyperparameters,
    counted: Round,
    uploads: Bool[Array, "runs workers"],
    half: Any,
    gradient: Any,
    weight: Float[Array, " runs"],
) -> Seen:
    """What was seen by the end of a round; every leaf has a leading axis of runs.

    Args:
      parts: the runs' parts.
      seen: what was seen before.
      hyperparameters: the runs' hyperparameters.
      counted: the round.
      uploads: who had something to say after it.
      half: sum of every other gradient of all devices, the first among them, like the parameters.
      gradient: that of all gradients.
      weight: number of episodes in that.
    """

    def of_run(
        seen: Seen, own: Hyperparameters, counted: Round, uploads: Array, half: Any, gradient: Any, weight: Array
    ) -> Seen:
        number = counted.counts.sum(dtype=jnp.int32)
        first = jnp.ceil(number.astype(jnp.float32) / 2) * parts.trajectories_per_gradient
        means = jax.tree.map(lambda x: x / first, half), jax.tree.map(lambda x: x / weight, gradient)
        now = Seen(
            *halves_show(*means, number),
            elapsed=counted.elapsed,
            exchanged=exchange_time(own.clock, uploads),
            counts=counted.counts.astype(jnp.float32),
            broken=counted.discarded.astype(jnp.float32),
            rounds=jnp.ones([]),
        )
        return after_round(seen, own.step, now)

    return jax.vmap(of_run)(seen, hyperparameters, counted, uploads, half, gradient, weight)
