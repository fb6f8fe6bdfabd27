"""How much work a gradient is: always the same, drawn at random, or recorded. In time units at full speed.

A gradient's work depends on its worker and on its number since the start of the run, and on nothing else, so that it
can be computed again at any time and nothing has to be stored.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from nigt_jax.clocks._pairs import widen
from nigt_jax.config import LONGEST_TIME, SHORTEST_TIME


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
        return _possible(self.mean, self.mean[:, None] * _each(_exponential, key, number))


class GammaWork(NamedTuple):
    """Gamma distributed; a shape of 1 is exponential, a larger one steadier."""

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        draw = lambda k: jax.random.gamma(k, self.shape, dtype=jnp.float32)
        return _possible(self.mean, self.mean[:, None] * _each(draw, key, number) / self.shape)


class LognormalWork(NamedTuple):
    """Lognormally distributed; the shape is the deviation of the logarithm."""

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        normal = _each(_normal, key, number)
        return _possible(self.mean, self.mean[:, None] * jnp.exp(self.shape * (normal - self.shape / 2)))


class ParetoWork(NamedTuple):
    """Pareto distributed, with a heavy tail of stragglers; the shape is the exponent of the tail, above 1.

    Draws go as far as 128 random bits lead. What lies beyond, one in 2^128, is missing from the mean: a part of
    2^(-128 (1 - 1/shape)), which is 0.03% for a shape of 1.1, 1.5% for 1.05, and 41% for 1.01.
    """

    mean: Float[Array, " workers"]
    shape: Float[Array, ""]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        least = (self.shape - 1) / self.shape
        draws = jnp.exp(_each(_exponential, key, number) / self.shape)
        return _possible(self.mean, self.mean[:, None] * least * draws)


class RecordedWork(NamedTuple):
    """A recording of each worker's consecutive gradients, begun again when it ends.

    Attributes:
      times: worker 1's in order, then worker 2's, and so on: memory is that of what was recorded.
      first: place of each worker's first time.
      length: length of each worker's recording.
    """

    times: Float[Array, " rows"]
    first: Int[Array, " workers"]
    length: Int[Array, " workers"]

    def amounts(self, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
        """Work of each worker's gradients of these numbers."""
        del key
        return self.times[self.first[:, None] + number % self.length[:, None]]

    @property
    def mean(self) -> Float[np.ndarray, " workers"]:
        """Of each worker's recording, on the host."""
        return np.add.reduceat(np.asarray(self.times, np.float64), np.asarray(self.first)) / np.asarray(self.length)


def recorded_work(times: Float[np.ndarray, " rows"], lengths: Int[np.ndarray, " workers"]) -> RecordedWork:
    """From workers' recordings, one after the other, and the length of each, at least 1."""
    whole = lambda x: jnp.asarray(x, jnp.int32)
    return RecordedWork(jnp.asarray(times, jnp.float32), whole(np.cumsum(lengths) - lengths), whole(lengths))


Work: TypeAlias = FixedWork | ExponentialWork | GammaWork | LognormalWork | ParetoWork | RecordedWork
RANDOM_WORK: dict[str, Callable[..., Work]] = {
    "exponential": lambda mean, shape: ExponentialWork(mean),
    "gamma": GammaWork,
    "lognormal": LognormalWork,
    "pareto": ParetoWork,
}


# In parts of 12 bits: times a number of halvings they are exact, so no program rounds them in a way of its own.
_LN2 = np.float32(0.693115234375), np.float32(np.float64(np.float32(np.log(2))) - 0.693115234375)


def exponential_of(bits: UInt[Array, "5"]) -> Float[Array, ""]:
    """The exponential number, with mean 1, that 160 random bits stand for: 128 decide its tail, 23 the rest.

    It is never zero. The logarithm of a uniform number of 24 bits, which is the usual way, never gets beyond 16.6.
    """
    zeros = jnp.zeros([], jnp.uint32)
    for word in (bits[3], bits[2], bits[1], bits[0]):  # how many come before the first 1 of them all
        zeros = jnp.where(word == 0, 32 + zeros, jax.lax.clz(word))
    # So many halvings of what is left; then a uniform number in (0, 1/2), of 23 bits and a half.
    last = ((bits[4] >> 9).astype(jnp.float32) + 0.5) * 2.0**-24
    halvings = zeros.astype(jnp.float32)
    return halvings * _LN2[0] + (halvings * _LN2[1] - jnp.log1p(-last))


def _exponential(key: PRNGKeyArray) -> Float[Array, ""]:
    return exponential_of(jax.random.bits(key, (5,), jnp.uint32))


def _normal(key: PRNGKeyArray) -> Float[Array, ""]:
    """A standard normal draw up to 13 deviations, after Box and Muller; one from 24 bits ends at 5.4."""
    radius, angle = jax.random.split(key)
    turn = jax.random.uniform(angle, (), jnp.float32)
    return widen(jnp.sqrt(2 * _exponential(radius)) * jnp.cos(2 * np.float32(np.pi) * turn)).high


def _possible(mean: Float[Array, " workers"], times: Float[Array, "workers k"]) -> Float[Array, "workers k"]:
    """Times drawn, within what the clocks can tell from nothing and from never.

    A worker whose mean is infinite never answers, whatever is drawn.
    """
    return jnp.where(jnp.isinf(mean)[:, None], jnp.inf, jnp.clip(times, SHORTEST_TIME, LONGEST_TIME))


def _each(draw: object, key: PRNGKeyArray, number: Int[Array, "workers k"]) -> Float[Array, "workers k"]:
    """A draw for each gradient from a key of its own."""

    def one(worker_key: PRNGKeyArray, n: Array) -> Array:
        return draw(jax.random.fold_in(worker_key, n))  # type: ignore[operator]

    workers = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(number.shape[0], dtype=jnp.int32))
    return jax.vmap(jax.vmap(one, (None, 0)))(workers, number)
