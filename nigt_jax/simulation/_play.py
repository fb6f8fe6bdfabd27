"""Round after round on a clock, compiled, with what each gave."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt

from nigt_jax.clocks import (
    Clock,
    ClockState,
    NeverEnds,
    Round,
    clock_key,
    exchange_time,
    never_ends,
    play_round,
    to_float64,
)
from nigt_jax.errors import RunError
from nigt_jax.methods import OneOfRounds, Rounds
from nigt_jax.simulation._sized import sized

_LENGTH, _TABLE = 50, 2**22  # rounds in one call; counts that are in memory at once

Schedules = tuple[Rounds, ...]
"""Schedules that share one compiled program: a program is longer to compile than all of them are to play."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Played:
    """What rounds gave, on the host.

    Attributes:
      collecting: time of each round until its end, shape [rounds].
      communicating: time of its exchange.
      variance: variance of its aggregated gradient where each gradient's is 1.
      messages: messages that workers sent for it.
      counted: gradients of each worker in all rounds, shape [workers].
      discarded: those begun and not counted.
      time: when the last exchange was over.
      never_ends: the round at which it stopped, if any.
    """

    collecting: Float[np.ndarray, " rounds"]
    communicating: Float[np.ndarray, " rounds"]
    variance: Float[np.ndarray, " rounds"]
    messages: Int[np.ndarray, " rounds"]
    counted: Int[np.ndarray, " workers"]
    discarded: Int[np.ndarray, " workers"]
    time: float
    never_ends: NeverEnds | None


class _Row(NamedTuple):
    """One round as it leaves the compiled program."""

    counted: Round
    communicating: Float[Array, ""]
    variance: Float[Array, ""]


def play(clock: Clock, schedules: Schedules, number: int, batch_size: int, rounds: int, seed: int) -> Played:
    """Plays so many rounds, or up to the first that never ends.

    Args:
      clock: how long things take.
      schedules: several schedules.
      number: the one that is played, from 0.
      batch_size: gradients of a round.
      rounds: number of rounds, at least 1.
      seed: of all gradients' times.

    Raises:
      RunError: what a round gave cannot be right.
    """
    state, parts, left, never = begin(clock, np.uint32(seed)), [], rounds, None
    while left and never is None:
        wanted = min(left, _length(clock))
        state, rows = _rows(clock, schedules, number, batch_size, state, wanted)
        rows = jax.device_get(rows)
        done = int(rows.counted.complete.sum())
        refuse_nonsense(rows.counted, done, rounds - left)
        parts.append(_summary(rows, done, clock))
        left -= done
        if done < wanted:
            rule = schedules[number].rule(jnp.int32(batch_size), clock.workers)
            never = never_ends(clock, rule, state, rounds - left + 1)
    join = lambda name: np.concatenate([part[name] for part in parts])
    total = lambda name: np.sum([part[name] for part in parts], axis=0)
    return Played(
        collecting=join("collecting"),
        communicating=join("communicating"),
        variance=join("variance"),
        messages=join("messages"),
        counted=total("counted"),
        discarded=total("discarded"),
        time=float(to_float64(state.now)),
        never_ends=never,
    )


def play_one(
    clock: Clock, schedules: Schedules, number: int, batch_size: int, state: ClockState
) -> tuple[Round, float, ClockState]:
    """The next round, the time of its exchange, and the state after it, on the host; by the program that plays many."""
    after, rows = jax.device_get(_rows(clock, schedules, number, batch_size, state, 1))
    counted, communicating = jax.tree.map(lambda x: x[0], (rows.counted, rows.communicating))
    return counted, float(communicating), after


@sized()
def begin(clock: Clock, seed: UInt[Array, ""]) -> ClockState:
    """The state at time 0."""
    return clock.begin(clock_key(seed))


def _rows(
    clock: Clock, schedules: Schedules, number: int, batch_size: int, state: ClockState, wanted: int
) -> tuple[ClockState, _Row]:
    whole = map(np.int32, (number, batch_size, wanted))
    return _part(clock, state, *whole, schedules, _length(clock))


def _length(clock: Clock) -> int:
    """Rounds in one call. Counts go to the host in parts: their sum needs 64 bits."""
    return max(1, min(_LENGTH, _TABLE // clock.workers))


@sized("schedules", "length")
def _part(
    clock: Clock,
    state: ClockState,
    number: Int[Array, ""],
    batch_size: Int[Array, ""],
    wanted: Int[Array, ""],
    schedules: Schedules,
    length: int,
) -> tuple[ClockState, _Row]:
    """At most `length` rounds: as many as wanted, or up to one that never ends; the rest is incomplete and empty."""
    schedule = OneOfRounds({str(k): one for k, one in enumerate(schedules)}).at(number)
    rule = schedule.rule(batch_size, clock.workers)

    @jax.jit  # traced once for its shapes and its numbers
    def one(state: ClockState) -> tuple[ClockState, _Row]:
        counted, after = play_round(clock, rule, state)
        weight, count = schedule.weigh(counted), counted.counts.astype(jnp.float32)
        variance = jnp.sum(weight**2 * count) / jnp.sum(weight * count) ** 2
        return after, _Row(counted, exchange_time(clock, counted.counts > 0), variance)

    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, state)[1])

    def step(carry: tuple[ClockState, Array], number: Array) -> tuple[tuple[ClockState, Array], _Row]:
        state, going = carry
        going &= number < wanted
        after, row = jax.lax.cond(going, one, lambda state: (state, empty), state)
        going &= row.counted.complete
        # The state that stays is that at the start of the round that never ends.
        return (jax.tree.map(lambda new, old: jnp.where(going, new, old), after, state), going), row

    (state, _), rows = jax.lax.scan(step, (state, jnp.ones([], bool)), jnp.arange(length))
    return state, rows


def refuse_nonsense(counted: Round, done: int, before: int) -> None:
    """RunError at the first round that ended and cannot have, whatever the cause."""
    gradients, least = counted.counts.sum(axis=1, dtype=np.int64), counted.counts.min(axis=1)
    good = (gradients > 0) & (least >= 0) & (counted.elapsed > 0) & (counted.elapsed < np.inf)
    if not good[:done].all():
        first = int(np.argmin(good))
        raise RunError(
            f"round {before + first + 1} cannot be right, which is a fault of nigt_jax: {gradients[first]:,} gradients "
            f"({least[first]:,} of a worker) in a time of {counted.elapsed[first]:g}"
        )


def _summary(rows: _Row, done: int, clock: Clock) -> dict[str, Any]:
    """Of the first `done` rounds, those that ended."""
    rows = jax.tree.map(lambda x: x[:done], rows)
    contributors = (rows.counted.counts > 0).sum(axis=1)
    return {
        "collecting": np.asarray(rows.counted.elapsed, np.float64),
        "communicating": np.asarray(rows.communicating, np.float64),
        "variance": np.asarray(rows.variance, np.float64),
        "messages": np.full_like(contributors, clock.workers) if clock.topology == "allreduce" else contributors,
        "counted": rows.counted.counts.sum(axis=0, dtype=np.int64),
        "discarded": rows.counted.discarded.sum(axis=0, dtype=np.int64),
    }
