"""The simulated clock: what workers do, and what an exchange costs."""

import dataclasses
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._fixed import fixed_round
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._rounds import Ending, Round
from nigt_jax.clocks._rules import Rule
from nigt_jax.clocks._search import searched_round
from nigt_jax.clocks._time import SimulatedTime, time_zero
from nigt_jax.clocks._work import FixedWork


class ClockState(NamedTuple):
    """What workers are doing when a round begins.

    Attributes:
      now: simulated time.
      start: time from now until each worker is free for the new query point; shape [workers].
      begun: gradients that each worker has begun since the start of the run.
      key: key of all gradients' work.
    """

    now: SimulatedTime
    start: Pair
    begun: Int[Array, " workers"]
    key: PRNGKeyArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Clock:
    """How long everything takes; arrays may be traced.

    Attributes:
      work: work of a gradient of each worker; a Work.
      speed: speed at which workers do it; a Speed, or None for full speed always.
      exchange: time of one exchange of each worker (the paper's kappa_i); shape [workers].
      topology: how exchanges share links, see :func:`exchange_time`.
      carry_over: whether a worker first finishes what it was doing when a round ended; that one is discarded.
      window: gradients of each worker that are looked at at a time, where they have to be looked at.
    """

    # Any: JAX also builds trees whose leaves stand for arrays and are none.
    work: Any
    speed: Any
    exchange: Any
    topology: str = dataclasses.field(metadata={"static": True}, default="parallel-links")
    carry_over: bool = dataclasses.field(metadata={"static": True}, default=False)
    window: int = dataclasses.field(metadata={"static": True}, default=16)

    @property
    def workers(self) -> int:
        """How many there are."""
        return self.exchange.shape[0]

    def begin(self, key: PRNGKeyArray) -> ClockState:
        """The state at time 0."""
        return ClockState(time_zero(), self.at_once, jnp.zeros(self.workers, jnp.int32), key)

    @property
    def at_once(self) -> Pair:
        """No time at all, for each worker."""
        return pairs.broadcast(time_zero(), (self.workers,))


class Collected(NamedTuple):
    """The clock at the end of collecting, before the exchange.

    Attributes:
      state: the clock's state when the round began.
      end: time from then until the round was over.
      free: time from then until each worker has finished what it was doing at the end; shape [workers].
      busy: whether a worker was doing something that does not count; shape [workers].
      begun: gradients that each worker has begun since the start of the run.
    """

    state: ClockState
    end: Pair
    free: Pair
    busy: Bool[Array, " workers"]
    begun: Int[Array, " workers"]


def collect_round(clock: Clock, rule: Rule, state: ClockState) -> tuple[Round, Collected]:
    """Collects the gradients of one round: who is counted, and when it is over.

    Args:
      clock: how long things take.
      rule: when the round is over.
      state: the clock's state when it begins.

    Returns:
      The round, and what :func:`exchange` goes on with. The round reports its time rounded to float32; what is passed
      on has all its digits.
    """
    round, end, busy = _collect(clock, rule, state)
    everywhere = pairs.broadcast(end, round.counts.shape)
    # Who was still at work for an earlier round has begun nothing in this one.
    waiting = pairs.less_equal(everywhere, state.start)
    round = round._replace(discarded=jnp.where(waiting, 0, round.discarded))
    begun = state.begun + round.counts + round.discarded
    # Numbers of gradients decide their times; they may run out, but not begin again.
    round = round._replace(complete=round.complete & jnp.all(begun >= state.begun))
    free = pairs.where(waiting, state.start, busy)
    return round, Collected(state, end, free, waiting | (round.discarded > 0), begun)


def exchange(
    clock: Clock,
    collected: Collected,
    uploads: Bool[Array, "*exchanges workers"],
    afterwards: SimulatedTime | None = None,
) -> ClockState:
    """Exchanges what was collected.

    Args:
      clock: how long things take.
      collected: what :func:`collect_round` passed on.
      uploads: who has something to say, in each of the exchanges where there are several.
      afterwards: what the server takes for itself before the next round; None for no time.

    Returns:
      The clock's state when the next round begins.
    """
    chex.assert_shape(uploads, (..., clock.workers))
    state, workers = collected.state, collected.begun.shape
    times = jax.vmap(functools.partial(exchange_time, clock))(uploads.reshape(-1, *workers))
    spent = pairs.add(collected.end, widen(jnp.sum(times)))
    if afterwards is not None:
        spent = pairs.add(spent, afterwards)
    start = clock.at_once
    if clock.carry_over:
        left = pairs.subtract(collected.free, pairs.broadcast(spent, workers))
        start = pairs.where(collected.busy & (left.high > 0), left, start)
    return ClockState(pairs.add(state.now, spent), start, collected.begun, state.key)


def play_round(clock: Clock, rule: Rule, state: ClockState) -> tuple[Round, ClockState]:
    """One whole round in which everyone uploads who has a gradient that counts; see :func:`collect_round`."""
    round, collected = collect_round(clock, rule, state)
    return round, exchange(clock, collected, round.counts > 0)


def exchange_time(clock: Clock, uploads: Bool[Array, " workers"]) -> Float[Array, ""]:
    """What one exchange costs.

    ``parallel-links`` and ``allreduce``: the longest exchange of all workers, since every one has to hear of the next
    query point. ``shared-link``: the sum of those who have something to say, one after the other.
    """
    if clock.topology == "shared-link":
        return jnp.sum(jnp.where(uploads, clock.exchange, 0))
    return jnp.max(clock.exchange)


def clock_key(seed: int | UInt[Array, ""]) -> PRNGKeyArray:
    """The key of all gradients' times in a run of this seed."""
    return jax.random.fold_in(jax.random.key(seed), 0xC10C)


def finishing_times(
    clock: Clock, state: ClockState, finished: Int[Array, " workers"], since: Pair, window: int
) -> Pair:
    """When each worker finishes its next gradients.

    Args:
      clock: how long things take.
      state: what times are relative to.
      finished: gradients that each worker has finished since then.
      since: when it finished the last of them, or began; shape [workers].
      window: how many to look at.

    Returns:
      Times from ``state.now``, shape [workers, window].
    """
    number = (state.begun + finished)[:, None] + jnp.arange(window, dtype=jnp.int32)[None, :]
    work = clock.work.amounts(state.key, number)
    if clock.speed is not None:
        return clock.speed.finish(state.now, since, work)

    def following(time: Pair, amount: Array) -> tuple[Pair, Pair]:
        done = pairs.add(time, widen(amount))
        return done, done

    return jax.tree.map(jnp.transpose, jax.lax.scan(following, since, work.T)[1])


def _collect(clock: Clock, rule: Rule, state: ClockState) -> Ending:
    if isinstance(clock.work, FixedWork) and clock.speed is None:
        return fixed_round(rule, clock.work.mean, state.start)
    following = lambda counts, since: finishing_times(clock, state, counts, since, clock.window)
    return searched_round(rule, following, state.start)
