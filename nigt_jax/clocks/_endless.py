"""Rounds that cannot be decided, and why: above all those that never end, and who they wait for. On the host."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from nigt_jax.clocks._arrivals import ArrivalState
from nigt_jax.clocks._clock import Clock, ClockState, finishing_times, play_round
from nigt_jax.clocks._rules import MOST, Rule
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


def never_comes(clock: Clock, state: ArrivalState, number: int) -> str:
    """One clause on an update that never comes, where every arrival is an update.

    Args:
      clock: a clock on which it does not.
      state: some time before.
      number: the update's number, from 1.
    """
    begun, everyone = np.asarray(state.begun), tuple(range(1, clock.workers + 1))
    if begun.max() > MOST:
        return f"update {number} {_run_out(begun)}"
    return f"update {number} never comes: {_why(everyone if _silent(clock).all() else ())}"


def _late(clock: Clock, rule: Rule, state: ClockState) -> tuple[int, ...]:
    """Workers that never answer again and have done less than their share, from 1."""
    silent = _silent(clock)
    share = getattr(rule, "share", None)
    enough = np.iinfo(np.int32).max if share is None else int(share)
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
