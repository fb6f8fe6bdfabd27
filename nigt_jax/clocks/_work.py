"""How much work a gradient is: always the same, drawn at random, or recorded. In time units at full speed.

A gradient's work depends on its worker and on its number since the start of the run, and on nothing else, so that it
can be computed again at any time and nothing has to be stored.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


class FixedWork(NamedTuple):
    """Worker i needs ``mean[i]``, always."""

    mean: Float[Array, " workers"]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        del key
        return jnp.broadcast_to(self.mean[:, None], number.shape)


class ExponentialWork(NamedTuple):
    """Exponentially distributed: memoryless, as of jobs in a busy queue."""

    mean: Float[Array, " workers"]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        return self.mean[:, None] * _each(jax.random.exponential, key, number)


class GammaWork(NamedTuple):
    """Gamma distributed; a shape of 1 is exponential, a larger one steadier."""

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        return self.mean[:, None] * _each(lambda k: jax.random.gamma(k, self.shape), key, number) / self.shape


class LognormalWork(NamedTuple):
    """Lognormally distributed; the shape is the deviation of the logarithm."""

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        normal = _each(jax.random.normal, key, number)
        return self.mean[:, None] * jnp.exp(self.shape * normal - self.shape**2 / 2)


class ParetoWork(NamedTuple):
    """Pareto distributed, with a heavy tail of stragglers; the shape is the exponent of the tail, above 1."""

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        least = (self.shape - 1) / self.shape
        return self.mean[:, None] * least * jnp.exp(_each(jax.random.exponential, key, number) / self.shape)


class RecordedWork(NamedTuple):
    """A recording of each worker's consecutive gradients, begun again when it ends.

    Attributes:
      table: shape [workers, longest]; what lies beyond a worker's length is not read.
      length: of each worker's recording.
    """

    table: Float[Array, "workers longest"]
    length: Int[Array, " workers"]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        del key
        return jnp.take_along_axis(self.table, number % self.length[:, None], axis=1)


Work: TypeAlias = FixedWork | ExponentialWork | GammaWork | LognormalWork | ParetoWork | RecordedWork
RANDOM_WORK: dict[str, Callable[..., Work]] = {
    "exponential": lambda mean, shape: ExponentialWork(mean),
    "gamma": GammaWork,
    "lognormal": LognormalWork,
    "pareto": ParetoWork,
}


def _each(draw: object, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
    """A draw for each gradient from a key of its own."""

    def one(worker_key: PRNGKeyArray, n: Array) -> Array:
        return draw(jax.random.fold_in(worker_key, n))  # type: ignore[operator]

    workers = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(number.shape[0]))
    return jax.vmap(jax.vmap(one, (None, 0)))(workers, number)
