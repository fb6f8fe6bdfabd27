"""Who is counted in a round, from the times at which workers finish their gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import _pairs as pairs


class Round(NamedTuple):
    """What a round counted, and when it ended.

    Attributes:
      counts: gradients counted of each worker.
      elapsed: time from the start of the round to its end, before communication.
      discarded: gradients begun but not counted when it ended, 0 or 1 each. 0 for a worker whose last counted gradient
        ended the round, and for one that waits at a synchronous barrier.
      complete: False where the durations given were too few to decide; the rest is then meaningless.
    """

    counts: Int[Array, " workers"]
    elapsed: Float[Array, ""]
    discarded: Int[Array, " workers"]
    complete: Bool[Array, ""]


def rennala_round(durations: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    r"""Rennala's round: it ends as soon as `batch_size` gradients have arrived, from whoever was fast.

    Exactly `batch_size` gradients are counted; of those that arrive at the last instant, the ones of workers with lower
    index. Pure; jit and vmap apply, and `batch_size` may be traced.

    Args:
      durations: time of each worker's consecutive gradients, the same unit throughout; inf for one that never answers.
      batch_size: :math:`M \ge 1`.

    Returns:
      The round. ``complete`` is False where some worker may have finished more than k gradients by the end, or fewer
      than `batch_size` ever arrive.

    Examples:
      >>> import jax.numpy as jnp, nigt_jax
      >>> r = nigt_jax.rennala_round(jnp.array([[1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]]), batch_size=4)
      >>> print(r.counts, r.elapsed, r.discarded)
      [3 1] 3.0 [0 0]

    References:
      Tyurin & Richtárik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
      Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023
    """
    return rennala_round_at(jnp.cumsum(durations, axis=1), batch_size)


def malenia_round(durations: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    r"""Malenia's round: it ends as soon as the harmonic mean of the counts is large enough.

    .. math::
        \left( \frac{1}{n} \sum_i \frac{1}{M_i} \right)^{-1} \ge \frac{M}{n}, \qquad 1/0 = \infty

    so it waits for every worker once, and the slow ones decide how long. Of the gradients that arrive at the last
    instant, those of workers with lower index are counted, until there are enough. The condition is decided to nine
    digits, whatever the number of workers. Pure; jit and vmap apply, and `batch_size` may be traced.

    Args:
      durations: time of each worker's consecutive gradients, the same unit throughout; inf for one that never answers.
      batch_size: :math:`M \ge 1`.

    Returns:
      The round. ``complete`` is False where some worker may have finished more than k gradients by the end, or the
      condition never holds.

    Examples:
      >>> import jax.numpy as jnp, nigt_jax
      >>> r = nigt_jax.malenia_round(jnp.array([[1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]]), batch_size=3)
      >>> print(r.counts, r.elapsed, r.discarded)
      [3 1] 3.0 [0 0]

    References:
      Tyurin & Richtárik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
      Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023
    """
    return malenia_round_at(jnp.cumsum(durations, axis=1), batch_size)


def synchronous_round(durations: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    """The round of a barrier: every worker computes ceil(batch_size / workers) gradients, and the last one ends it.

    Pure; jit and vmap apply, and `batch_size` may be traced.

    Args:
      durations: time of each worker's consecutive gradients, the same unit throughout; inf for one that never answers.
      batch_size: at least 1; what does not divide evenly is rounded up.

    Returns:
      The round. ``complete`` is False where a worker needs more than k gradients, or never answers.

    Examples:
      >>> import jax.numpy as jnp, nigt_jax
      >>> r = nigt_jax.synchronous_round(jnp.array([[1.0, 1.0], [3.0, 3.0]]), batch_size=2)
      >>> print(r.counts, r.elapsed, r.discarded)
      [1 1] 3.0 [0 0]
    """
    return synchronous_round_at(jnp.cumsum(durations, axis=1), batch_size)


def rennala_round_at(finish: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    """The same from finishing times, nondecreasing along a row, for clocks that know them better than a sum does."""
    enough = jnp.arange(1, finish.size + 1) >= batch_size
    return _until(finish, _arrivals(finish), enough)


def malenia_round_at(finish: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    """The same from finishing times, nondecreasing along a row, for clocks that know them better than a sum does."""
    workers, k = finish.shape
    order = _arrivals(finish)
    number = order % k + 1  # which of its worker's gradients an arrival is
    missing = workers - jnp.cumsum(number == 1)
    enough = (missing == 0) & (_harmonic_excess(number, workers, batch_size) <= 0)
    return _until(finish, order, enough)


def synchronous_round_at(finish: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    """The same from finishing times, nondecreasing along a row, for clocks that know them better than a sum does."""
    workers, k = finish.shape
    each = jnp.asarray((batch_size + workers - 1) // workers, jnp.int32)
    end = jnp.max(jnp.take(finish, jnp.clip(each - 1, 0, k - 1), axis=1))
    return Round(
        counts=jnp.full((workers,), each),
        elapsed=end,
        discarded=jnp.zeros((workers,), jnp.int32),
        complete=jnp.isfinite(end) & (each <= k),
    )


def _arrivals(finish: Float[Array, "workers k"]) -> Int[Array, " arrivals"]:
    """Flat indices of the gradients in the order in which they count; row-major, so ties go to the lower worker."""
    return jnp.argsort(finish.ravel(), stable=True)


def _until(
    finish: Float[Array, "workers k"], order: Int[Array, " arrivals"], enough: Bool[Array, " arrivals"]
) -> Round:
    """The round that ends with the first arrival after which there are enough."""
    k = finish.shape[1]
    last = jnp.argmax(enough)
    end = finish.ravel()[order[last]]
    counted = jnp.zeros(finish.size, bool).at[order].set(jnp.arange(finish.size) <= last)
    counts = jnp.sum(counted.reshape(finish.shape), axis=1, dtype=jnp.int32)
    last_counted = jnp.take_along_axis(finish, jnp.maximum(counts - 1, 0)[:, None], axis=1)[:, 0]
    just_done = (counts > 0) & (last_counted == end)
    return Round(
        counts=counts,
        elapsed=end,
        discarded=jnp.where(just_done, 0, 1).astype(jnp.int32),
        # A worker all of whose known gradients were counted early may have had another one in time.
        complete=jnp.isfinite(end) & jnp.any(enough) & jnp.all((counts < k) | just_done),
    )


def _harmonic_excess(
    number: Int[Array, " arrivals"], workers: int, batch_size: int | Int[Array, ""]
) -> Float[Array, " arrivals"]:
    """After each arrival the sign of sum_i 1/M_i - n^2/M over the workers heard of, in units of n^2/M.

    An arrival that is its worker's c-th takes 1/(c-1) - 1/c off the sum, so the sum is a running one; in pairs of
    float32, since near the end its steps may be a millionth of it.
    """
    count = number.astype(jnp.float32)
    gain = pairs.reciprocal(count)
    loss = pairs.reciprocal(jnp.maximum(count - 1, 1))
    change = pairs.subtract(gain, jax.tree.map(lambda x: jnp.where(number == 1, 0, x), loss))
    total = jax.lax.associative_scan(pairs.add, change)
    bound = pairs.multiply(pairs.reciprocal(jnp.asarray(batch_size, jnp.float32)), pairs.split(float(workers) ** 2))
    difference = pairs.subtract(total, jax.tree.map(lambda x: jnp.broadcast_to(x, total.high.shape), bound))
    return (difference.high + difference.low) / bound.high - 1e-9
