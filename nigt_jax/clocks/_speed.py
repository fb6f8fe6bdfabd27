"""Workers whose speed changes with time: slow nights, outages, machines that never answer again.

The universal computation model of Tyurin, `arXiv 2408.04929 <https://arxiv.org/abs/2408.04929>`_, with powers v_i(t)
that are constant piece by piece: work w begun at t is done at the first t' where the integral of v_i from t to t' is w.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._rounds import never


class Speed(NamedTuple):
    """The speed of every worker over time.

    Attributes:
      begin: when each piece begins, ascending, the first at 0; shape [workers, pieces].
      value: speed in each piece, 1 is full speed; same shape.
      period: after which everything repeats; inf where the last piece lasts forever.
    """

    begin: Float[Array, "workers pieces"]
    value: Float[Array, "workers pieces"]
    period: Float[Array, ""]

    def finish(self, now: Pair, since: Pair, work: Float[Array, "workers k"]) -> Pair:
        """When pieces of work that follow each other are done.

        All that is added up is measured from where a worker begins, however late in the run or in the period that is.

        Args:
          now: what times are relative to, in simulated time.
          since: when each worker begins, shape [workers].
          work: work of each worker's next gradients, shape [workers, k].

        Returns:
          Times relative to `now`, shape [workers, k], nondecreasing along a row; inf where a worker never gets there.
        """
        start = pairs.add(pairs.broadcast(now, since.high.shape), since)
        target = pairs.running_sum(widen(work))
        after = jax.vmap(_time_of, (0, 0, None, 0, 0))(self.begin, self.value, self.period, start, target)
        columns = lambda pair: jax.tree.map(lambda x: x[:, None], pair)
        done = pairs.add(pairs.broadcast(columns(since), work.shape), after)
        return pairs.running_maximum(done)


class _Segments(NamedTuple):
    """What a worker does from some moment on, for a whole period, or for ever where nothing repeats.

    Attributes:
      begin: begin of each segment, counted from that moment.
      end: likewise; inf of the last one where nothing repeats.
      value: speed.
      before: work that is done until it begins.
      done: work that is done in all of them; inf where that never ends.
    """

    begin: Pair
    end: Pair
    value: Float[Array, " segments"]
    before: Pair
    done: Pair


def _time_of(
    begin: Float[Array, " pieces"], value: Float[Array, " pieces"], period: Float[Array, ""], start: Pair, work: Pair
) -> Pair:
    """How long after `start` a worker has done so much, shape [k]; inf where it never has."""
    repeats = jnp.isfinite(period)
    length = jnp.where(repeats, period, 1)
    phase = pairs.where(repeats, pairs.divide_whole(start, widen(length))[1], start)
    segments = _segments(begin, value, period, phase)
    each = pairs.where(repeats, _work_of_a_period(begin, value, length), pairs.split(0.0))
    repeats &= each.high > 0
    each = pairs.broadcast(pairs.where(repeats, each, pairs.split(1.0)), work.high.shape)
    possible = jnp.isfinite(work.high / each.high)
    work = pairs.where(possible, work, each)
    # After so many periods a part of one is less than the digits of the time.
    far = repeats & (work.high / each.high > 2.0**44)
    times, rest = pairs.divide_whole(pairs.where(far, each, work), each)
    # Work that ends with a period belongs to that one, not to the next, which may begin with a break.
    ends = (rest.high == 0) & (times.high > 0)
    times = pairs.where(ends, pairs.subtract(times, pairs.broadcast(pairs.split(1.0), ends.shape)), times)
    rest = pairs.where(repeats, pairs.where(ends, each, rest), work)
    whole = pairs.multiply(pairs.where(far, pairs.divide(work, each), times), pairs.broadcast(widen(length), far.shape))
    time = pairs.where(repeats, whole, pairs.split(0.0))
    time = pairs.where(far, time, pairs.add(time, _time_within(segments, rest, repeats)))
    return pairs.where(possible, time, never(possible.shape))


def _time_within(segments: _Segments, work: Pair, surely: Bool[Array, ""]) -> Pair:
    """The same from one period alone; `surely` where there is as much work in it, but for rounding."""
    column = lambda pair: jax.tree.map(lambda x: x[:, None], pair)
    row = lambda pair: jax.tree.map(lambda x: x[None, :], pair)
    shape = (work.high.size, segments.value.size)
    begun = pairs.less(pairs.broadcast(row(segments.before), shape), pairs.broadcast(column(work), shape))
    busy = begun & (segments.value > 0)[None, :]
    last = segments.value.size - 1 - jnp.argmax(busy[:, ::-1], axis=1)  # where the work gets done
    begin, end, before = (jax.tree.map(lambda x: x[last], p) for p in (segments.begin, segments.end, segments.before))
    speed = jnp.where(segments.value > 0, segments.value, 1)[last]
    time = pairs.add(begin, pairs.divide(pairs.subtract(work, before), widen(speed)))
    beyond = pairs.subtract(work, pairs.broadcast(segments.done, work.high.shape)).high
    possible = jnp.any(busy, axis=1) & (surely | (beyond <= segments.done.high * 2.0**-40))
    return pairs.where(possible, pairs.where(pairs.less(end, time), end, time), never(time.high.shape))


def _segments(
    begin: Float[Array, " pieces"], value: Float[Array, " pieces"], period: Float[Array, ""], phase: Pair
) -> _Segments:
    """The pieces in the order in which they come after `phase`; the present one comes first and, in part, last."""
    count, repeats = begin.size, jnp.isfinite(period)
    passed = pairs.less_equal(widen(begin), pairs.broadcast(phase, begin.shape))
    present = jnp.maximum(jnp.sum(passed, dtype=jnp.int32) - 1, 0)
    number = present + jnp.arange(count + 1, dtype=jnp.int32)
    at, later = number % count, number >= count
    there = ~later | repeats
    zero = pairs.broadcast(pairs.split(0.0), at.shape)
    absolute = pairs.add(widen(begin[at]), widen(jnp.where(later & repeats, period, 0)))
    starts = pairs.subtract(absolute, pairs.broadcast(phase, at.shape))
    starts = pairs.where(there, pairs.where(pairs.less(starts, zero), zero, starts), never(at.shape))
    last = pairs.where(repeats, widen(period), never(()))
    ends = jax.tree.map(lambda x, e: jnp.append(x[1:], e), starts, last)
    speed = jnp.where(there, value[at], 0)
    bounded = jnp.isfinite(ends.high) & (speed > 0)
    length = pairs.subtract(pairs.where(bounded, ends, zero), pairs.where(bounded, starts, zero))
    so_far = pairs.running_sum(pairs.multiply(widen(speed), length))
    before = jax.tree.map(lambda x: jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]), so_far)
    endless = jnp.any(~jnp.isfinite(ends.high) & (speed > 0))
    done = pairs.where(endless, never(()), jax.tree.map(lambda x: x[-1], so_far))
    return _Segments(starts, ends, speed, before, done)


def _work_of_a_period(begin: Float[Array, " pieces"], value: Float[Array, " pieces"], period: Float[Array, ""]) -> Pair:
    ends = jnp.append(begin[1:], period)
    return pairs.total(pairs.multiply(widen(value), pairs.subtract(widen(ends), widen(begin))))
