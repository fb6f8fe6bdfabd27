"""Workers whose speed changes with time: slow nights, outages, machines that never answer again.

The universal computation model of Tyurin, `arXiv 2408.04929 <https://arxiv.org/abs/2408.04929>`_, with powers v_i(t)
that are constant piece by piece: work w begun at t is done at the first t' where the integral of v_i from t to t' is w.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair, widen


class Speed(NamedTuple):
    """The speed of every worker over time. Times are kept in float32 relative to a round's start, or to the period.

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

        Args:
          now: what times are relative to, in simulated time.
          since: when each worker begins, shape [workers].
          work: of each of its next gradients, shape [workers, k].

        Returns:
          Times relative to `now`, shape [workers, k], nondecreasing along a row; inf where a worker never gets there.
        """
        begin, phase = self._from(now)
        lengths = jnp.diff(begin, axis=1, append=jnp.full((begin.shape[0], 1), self.period))
        done = jnp.where(self.value > 0, self.value * lengths, 0)  # in each piece; the last may be endless
        total = jnp.cumsum(done, axis=1)
        before = jnp.concatenate([jnp.zeros_like(total[:, :1]), total[:, :-1]], axis=1)
        period_work = total[:, -1]
        target = _done_at(begin, self.value, before, period_work, self.period, phase + since.high)[:, None]
        target = target + jnp.cumsum(work, axis=1)
        at = jax.vmap(_time_of, (0, 0, 0, 0, None, 0))(begin, self.value, before, period_work, self.period, target)
        at = jnp.maximum(at - phase, since.high[:, None])
        return widen(jax.lax.cummax(at, axis=1))

    def _from(self, now: Pair) -> tuple[Float[Array, "workers pieces"], Float[Array, ""]]:
        """Beginnings of pieces and the present, both in one period, or relative to the present where none repeats."""
        forever = jnp.isinf(self.period)
        length = jnp.where(forever, 1, self.period)
        periods = widen(jnp.floor(now.high / length))
        within = pairs.subtract(now, pairs.multiply(periods, widen(length)))
        phase = jnp.where(forever, 0, jnp.mod(within.high, length))
        shifted = pairs.subtract(widen(self.begin), jax.tree.map(lambda x: jnp.broadcast_to(x, self.begin.shape), now))
        return jnp.where(forever, jnp.maximum(shifted.high, 0), self.begin), phase


def _done_at(
    begin: Float[Array, "workers pieces"],
    value: Float[Array, "workers pieces"],
    before: Float[Array, "workers pieces"],
    period_work: Float[Array, " workers"],
    period: Float[Array, ""],
    time: Float[Array, " workers"],
) -> Float[Array, " workers"]:
    """Work that each worker could have done from 0 to `time`."""
    periods = jnp.where(jnp.isinf(period), 0, jnp.floor(time / period))
    rest = jnp.where(periods > 0, time - periods * period, time)[:, None]
    piece = jnp.maximum(jnp.sum(begin <= rest, axis=1) - 1, 0)[:, None]
    at = lambda x: jnp.take_along_axis(x, piece, axis=1)
    inside = (at(before) + at(value) * (rest - at(begin)))[:, 0]
    return jnp.where(periods > 0, periods * period_work, 0) + inside


def _time_of(
    begin: Float[Array, " pieces"],
    value: Float[Array, " pieces"],
    before: Float[Array, " pieces"],
    period_work: Float[Array, ""],
    period: Float[Array, ""],
    work: Float[Array, " k"],
) -> Float[Array, " k"]:
    """The first time at which a worker has done so much since 0."""
    repeats = jnp.isfinite(period) & (period_work > 0)
    each = jnp.where(repeats, period_work, 1)
    periods = jnp.where(repeats, jnp.maximum(jnp.ceil(work / each) - 1, 0), 0)
    # The quotient may be rounded up or down, and work that ends with a period belongs to that one, not to the next.
    early, late = (work - periods * each <= 0) & (periods > 0), work - periods * each > each
    periods = periods + jnp.where(repeats, late.astype(jnp.float32) - early.astype(jnp.float32), 0)
    rest = jnp.where(repeats, work - periods * each, work)
    working = value > 0
    reached = working[None, :] & (before[None, :] < rest[:, None])  # the last of them is where the work gets done
    piece = begin.shape[0] - 1 - jnp.argmax(reached[:, ::-1], axis=1)
    at = begin[piece] + (rest - before[piece]) / jnp.where(working, value, 1)[piece]
    end = jnp.append(begin[1:], period)[piece]
    possible = jnp.any(reached, axis=1) & (repeats | (rest <= jnp.append(before[1:], jnp.inf)[piece]))
    return jnp.where(possible, jnp.where(repeats, periods * period, 0) + jnp.minimum(at, end), jnp.inf)
