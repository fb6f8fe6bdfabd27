"""Workers whose gradients always take the same time."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nigt_jax.config import PowerLaw
from nigt_jax.errors import UserError


class FixedTimes(NamedTuple):
    """A clock: worker i needs ``compute[i]`` for every gradient and ``communication[i]`` for every exchange.

    Links are parallel: a round costs its collection time and the longest exchange of all workers, since every one of
    them has to hear of the next query point.
    """

    compute: Float[Array, " workers"]
    communication: Float[Array, " workers"]

    def finishing_times(self, gradients: int) -> Float[Array, "workers gradients"]:
        """When each worker finishes its first, second, ... gradient. Products, so that they are rounded only once."""
        number = jnp.arange(1, gradients + 1, dtype=self.compute.dtype)
        return self.compute[:, None] * number[None, :]

    def exchange(self) -> Float[Array, ""]:
        """Time of a round's communication."""
        return jnp.max(self.communication)


def power_law(law: PowerLaw, workers: int, parameters: int) -> Float[np.ndarray, " workers"]:
    """The times that `law` gives to workers 1 to `workers`, for a policy of so many parameters; in time units."""
    if law.values is not None:
        return np.asarray(law.values, np.float32)
    number = np.arange(1, workers + 1, dtype=np.float64)
    times = law.scale * number**law.worker_exponent * float(parameters) ** law.parameter_exponent
    if law.scale > 0 and not (times.min() > 1e-37 and times.max() < 1e37):
        raise UserError(
            f"workers: a law gives times from {times.min():g} to {times.max():g}, allowed: what a float32 can hold"
        )
    return times.astype(np.float32)
