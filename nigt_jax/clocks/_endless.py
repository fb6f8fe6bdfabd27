"""Rounds that cannot be decided, and why: above all those that never end, and who they wait for. On the host."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks._arrival_rules import ArrivalRule
from nigt_jax.clocks._arrivals import ArrivalState, next_arrival
from nigt_jax.clocks._clock import Clock, ClockState, finishing_times, play_round
from nigt_jax.clocks._rules import MOST, NO_END, Rule
from nigt_jax.clocks._work import FixedWork


@dataclasses.dataclass(frozen=True)
class NeverEnds:
    """A round that a clock cannot decide.

    Attributes:
      round: its number, from 1.
      waits_for: workers, numbered from 1, that never answer again; the one that has done least comes first. Empty where
        the round does not wait for ever.
      reason: the clause that says why.
    """

    round: int
    waits_for: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        """One clause."""
        return f"round {self.round} {self.reason}"


def never_ends(clock: Clock, rule: Rule, state: ClockState, number: int) -> NeverEnds:
    """Why a round is not decided: workers that never answer again, or more gradients than can be counted.

    Args:
      clock: a clock on which the round that begins with `state` is incomplete.
      rule: the round's rule.
      state: when it begins.
      number: the round's number, from 1.
    """
    round, after = jax.device_get(_play_round(clock, rule, state))
    counts, begun = np.asarray(round.counts, np.int64), np.asarray(after.begun)
    if counts.sum() >= MOST:
        most = int(counts.argmax()) + 1
        return NeverEnds(number, (), f"counts {MOST:,} gradients or more, too many; most of them are worker {most}'s")
    if (begun < np.asarray(state.begun)).any():
        return NeverEnds(number, (), _run_out(np.asarray(state.begun)))
    late = _late(clock, rule, state)
    return NeverEnds(number, late, f"never ends: {_why(late)}")


def never_comes(clock: Clock, rule: ArrivalRule, kept: Any, state: ArrivalState, number: int) -> NeverEnds:
    """Why an update never comes, where gradients arrive one at a time.

    Args:
      clock: a clock on which it does not.
      rule: what becomes of gradients that arrive.
      kept: what it keeps at `state`.
      state: some time before.
      number: the update's number, from 1.
    """
    begun = np.asarray(state.begun)
    if begun.max() > MOST:
        return NeverEnds(number, (), _run_out(begun))
    return in_vain(clock, np.asarray(_waited_for(clock, rule, kept, state)), number)


def in_vain(clock: Clock, waits_for: Bool[np.ndarray, " workers"], number: int) -> NeverEnds:
    """What there is to say of an update that never comes, of workers for whom it waits."""
    silent = bool((_silent(clock) | ~waits_for).all())  # others would deliver at a time that is too late for a number
    who = tuple(int(i) + 1 for i in np.flatnonzero(waits_for)) if silent else ()
    return NeverEnds(number, who, f"never comes: {_why(who)}")


@jax.jit
def _waited_for(clock: Clock, rule: ArrivalRule, kept: Any, state: ArrivalState) -> Bool[Array, " workers"]:
    """For whom it waits in vain, once it does."""
    zero, waits_for = jnp.zeros([], jnp.int32), lambda at: rule.waits_for(at[0], jnp.isinf(at[1].due.high))

    def step(at: tuple) -> tuple:
        worker, answered, after = next_arrival(clock, at[1])
        return rule.take(at[0], worker, zero, zero)[1], after, answered

    kept_and_state = (kept, state, jnp.ones([], bool))
    return waits_for(jax.lax.while_loop(lambda at: at[2] & ~waits_for(at).any(), step, kept_and_state))


def _late(clock: Clock, rule: Rule, state: ClockState) -> tuple[int, ...]:
    """Workers that never answer again and have done less than their share, from 1."""
    silent = _silent(clock)
    enough = int(rule.limit(jnp.int32(NO_END)))
    finished = np.zeros(clock.workers, np.int32)
    since, waiting = state.start, silent
    while waiting.any():  # what a silent worker still finishes is finite
        times = _times(clock, state, jnp.asarray(finished), since, clock.window)
        new = np.isfinite(jax.device_get(times.high)).sum(axis=1, dtype=np.int32)
        finished = finished + np.where(waiting, new, 0)
        since = jax.tree.map(lambda x: x[:, -1], times)
        waiting = waiting & (new == times.high.shape[1]) & (finished < enough)
    late = np.flatnonzero(silent & (finished < enough))
    return tuple(int(i) + 1 for i in late[np.argsort(finished[late], kind="stable")])


def _run_out(begun: Int[np.ndarray, " workers"]) -> str:
    return f"cannot be played: worker {int(begun.argmax()) + 1} has begun as many gradients as an int32 can number"


def _why(waits_for: tuple[int, ...]) -> str:
    if not waits_for:
        return "no float32 holds its time"
    some, more = ", ".join(map(str, waits_for[:3])), len(waits_for) - 3
    who = f"{'workers' if len(waits_for) > 1 else 'worker'} {some}" + (f" and {more} more" if more > 0 else "")
    return f"it waits for {who}"


_play_round = jax.jit(play_round)
_times = functools.partial(jax.jit, static_argnames="window")(finishing_times)


def _silent(clock: Clock) -> Bool[np.ndarray, " workers"]:
    """Workers that from some time on do nothing for ever."""
    silent = np.zeros(clock.workers, bool)
    if isinstance(clock.work, FixedWork):
        silent |= ~np.isfinite(np.asarray(clock.work.mean))
    if clock.speed is not None:
        begin, value, period = (np.asarray(x) for x in clock.speed)
        if np.isinf(period):
            silent |= value[:, -1] == 0
        else:
            silent |= (value * np.diff(begin, axis=1, append=period)).sum(axis=1) == 0
    return silent
