"""Who is counted in a round, from the times at which workers finish their gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._rules import Rule, countable, malenia_rule, rennala_rule, synchronous_rule


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


class Ending(NamedTuple):
    """A round, and what a clock has to know to go on after it.

    Attributes:
      round: as reported.
      end: the round's end, a pair.
      busy: when each worker has finished what it is doing at the end, shape [workers]; the end itself where it is idle.
    """

    round: Round
    end: Pair
    busy: Pair


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
    return _from_durations(rennala_rule(batch_size, durations.shape[0]), durations)


def malenia_round(durations: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    r"""Malenia's round: it ends as soon as the harmonic mean of the counts is large enough.

    .. math::
        \left( \frac{1}{n} \sum_i \frac{1}{M_i} \right)^{-1} \ge \frac{M}{n}, \qquad 1/0 = \infty

    so it waits for every worker once, and the slow ones decide how long. Of the gradients that arrive at the last
    instant, those of workers with lower index are counted, until there are enough. The condition is decided to twelve
    digits, so that it also holds where both sides are equal. Pure; jit and vmap apply, and `batch_size` may be traced.

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
    return _from_durations(malenia_rule(batch_size, durations.shape[0]), durations)


def synchronous_round(durations: Float[Array, "workers k"], batch_size: int | Int[Array, ""]) -> Round:
    """The round of a barrier: every worker computes ceil(batch_size / workers) gradients, and the last one ends it.

    Pure; jit and vmap apply, and `batch_size` may be traced.

    Args:
      durations: time of each worker's consecutive gradients, the same unit throughout; inf for one that never answers.
      batch_size: gradients of all workers, at least 1; what does not divide evenly is rounded up.

    Returns:
      The round. ``complete`` is False where a worker needs more than k gradients, or never answers.

    Examples:
      >>> import jax.numpy as jnp, nigt_jax
      >>> r = nigt_jax.synchronous_round(jnp.array([[1.0, 1.0], [3.0, 3.0]]), batch_size=2)
      >>> print(r.counts, r.elapsed, r.discarded)
      [1 1] 3.0 [0 0]
    """
    return _from_durations(synchronous_rule(batch_size, durations.shape[0]), durations)


def decide(rule: Rule, counts: Int[Array, " workers"], since: Pair, finish: Pair) -> Ending:
    """The round's end, if it lies among the next few gradients of every worker.

    Args:
      rule: when the round is over.
      counts: gradients that each worker has finished so far; not enough yet.
      since: when it finished the last of them (or began), shape [workers].
      finish: when it finishes the following ones, shape [workers, k], nondecreasing along a row.

    Returns:
      The ending. Its round is complete where every arrival up to the end is among those given.
    """
    workers, k = finish.high.shape
    number = counts[:, None] + jnp.arange(1, k + 1, dtype=jnp.int32)[None, :]
    finish = pairs.where(rule.limit(number) == number, finish, never((workers, k)))  # who waits begins nothing more
    # Every arrival is known up to the last one of a worker that goes on after it.
    goes_on = rule.limit(counts + k + 1) == counts + k + 1
    last_known = jax.tree.map(lambda x: x[:, -1], finish)
    known = pairs.smallest(pairs.where(goes_on, last_known, never((workers,))))
    # Sorted by time; the sort is stable and the table is row by row, so ties go to the lower worker.
    flat = (finish.high.ravel(), finish.low.ravel(), jnp.arange(workers * k, dtype=jnp.int32))
    high, low, place = jax.lax.sort(flat, num_keys=2, is_stable=True)
    new, last, enough = _take(rule, counts, place // k, jnp.isfinite(high))
    end = Pair(high[last], low[last])

    def finish_of(column: Int[Array, " workers"]) -> Pair:
        index = jnp.clip(column, 0, k - 1)[:, None]
        return jax.tree.map(lambda x: jnp.take_along_axis(x, index, axis=1)[:, 0], finish)

    latest = pairs.where(new > 0, finish_of(new - 1), since)
    return _ending(rule, counts + new, latest, finish_of(new), end, enough & pairs.less_equal(end, known))


def end_together(
    rule: Rule, counts: Int[Array, " workers"], arriving: Bool[Array, " workers"], since: Pair, finish: Pair
) -> Ending:
    """The end of a round whose last arrivals come at the same instant.

    Args:
      rule: when the round is over.
      counts: gradients that each worker has finished before that instant; not enough.
      arriving: whether it finishes another one just then; enough.
      since: when it finished its last one before, shape [workers].
      finish: when it finishes its next one, shape [workers].

    Returns:
      The ending; incomplete where what arrives is not enough after all.
    """
    new, _, enough = _take(rule, counts, jnp.arange(counts.size, dtype=jnp.int32), arriving)
    end = pairs.smallest(pairs.where(arriving, finish, never(counts.shape)))
    latest = pairs.where(new > 0, pairs.broadcast(end, counts.shape), since)
    return _ending(rule, counts + new, latest, finish, end, enough)


def never(shape: tuple[int, ...]) -> Pair:
    """Times at which nothing happens any more."""
    return Pair(jnp.full(shape, jnp.inf, jnp.float32), jnp.zeros(shape, jnp.float32))


def first_that_holds(
    condition: Callable[[Int[Array, ""]], Bool[Array, ""]], below: Int[Array, ""], above: Int[Array, ""]
) -> Int[Array, ""]:
    """The least number in (below, above] for which a monotone condition holds, as it does for `above`."""

    def halve(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        holds = condition(middle)
        return jnp.where(holds, low, middle), jnp.where(holds, middle, high)

    return jax.lax.while_loop(lambda bounds: bounds[1] - bounds[0] > 1, halve, (below, above))[1]


def _take(
    rule: Rule, counts: Int[Array, " workers"], worker: Int[Array, " arrivals"], valid: Bool[Array, " arrivals"]
) -> tuple[Int[Array, " workers"], Int[Array, ""], Bool[Array, ""]]:
    """Of arrivals in order as many as the rule needs: how many of each worker, the last one, and if it has enough."""
    order = jnp.arange(valid.size, dtype=jnp.int32)

    def up_to(last: Int[Array, ""]) -> Int[Array, " workers"]:
        return jnp.zeros_like(counts).at[worker].add((valid & (order <= last)).astype(jnp.int32))

    none, nowhere = jnp.asarray(-1, jnp.int32), jnp.asarray(valid.size, jnp.int32)
    last = first_that_holds(lambda j: rule.enough(counts + up_to(j)), none, nowhere)
    return up_to(last), jnp.minimum(last, nowhere - 1), last < nowhere


def _ending(
    rule: Rule, counts: Int[Array, " workers"], latest: Pair, following: Pair, end: Pair, complete: Bool[Array, ""]
) -> Ending:
    """The round, from the counts, when each worker's latest counted gradient came in, and when its next one would."""
    everywhere = pairs.broadcast(end, counts.shape)
    idle = ((counts > 0) & pairs.equal(latest, everywhere)) | (rule.limit(counts + 1) == counts)
    round = Round(
        counts=counts,
        elapsed=end.high,
        discarded=jnp.where(idle, 0, 1).astype(jnp.int32),
        complete=complete & jnp.isfinite(end.high) & countable(counts),
    )
    return Ending(round, end, pairs.where(idle, everywhere, following))


def _from_durations(rule: Rule, durations: Float[Array, "workers k"]) -> Round:
    workers = durations.shape[0]
    finish = pairs.running_sum(widen(durations.astype(jnp.float32)))
    return decide(rule, jnp.zeros(workers, jnp.int32), widen(jnp.zeros(workers, jnp.float32)), finish).round
