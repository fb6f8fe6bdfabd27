"""Rounds that never end, and who they wait for. On the host."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from nigt_jax.clocks._clock import Clock, ClockState, finishing_times
from nigt_jax.clocks._rules import Rule
from nigt_jax.clocks._work import FixedWork


@dataclasses.dataclass(frozen=True)
class NeverEnds:
    """A round that waits for ever.

    Attributes:
      round: its number, from 1.
      waits_for: workers, numbered from 1, that never answer again; the one that has done least comes first. Empty where
        the round only takes longer than a float32 can say.
    """

    round: int
    waits_for: tuple[int, ...]

    def __str__(self) -> str:
        """One clause."""
        return f"round {self.round} never ends: {_why(self.waits_for)}"


def never_ends(clock: Clock, rule: Rule, state: ClockState, number: int) -> NeverEnds:
    """Who keeps a round from ending: those that never answer again and have done less than their share.

    Args:
      clock: on which the round that begins with `state` never ends.
      rule: of the round.
      state: when it begins.
      number: of the round, from 1.
    """
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
    return NeverEnds(number, tuple(int(i) + 1 for i in late[np.argsort(finished[late], kind="stable")]))


def never_comes(clock: Clock, number: int) -> str:
    """One clause on update `number` of a method that updates at every arrival, where nobody's gradient ever arrives."""
    everyone = tuple(range(1, clock.workers + 1))
    return f"update {number} never comes: {_why(everyone if _silent(clock).all() else ())}"


def _why(waits_for: tuple[int, ...]) -> str:
    if not waits_for:
        return "no float32 holds its time"
    some, more = ", ".join(map(str, waits_for[:3])), len(waits_for) - 3
    who = f"{'workers' if len(waits_for) > 1 else 'worker'} {some}" + (f" and {more} more" if more > 0 else "")
    return f"it waits for {who}"


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
