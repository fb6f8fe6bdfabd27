"""Round after round on a clock, compiled, with what each gave."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.clocks import (
    Clock,
    ClockState,
    NeverEnds,
    Round,
    Rule,
    exchange_time,
    never_ends,
    play_round,
    to_float64,
)
from nigt_jax.errors import RunError

_LENGTH, _TABLE = 50, 2**22  # rounds in one call; counts that are in memory at once

Weigh = Callable[[Round], Array]


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


def play(clock: Clock, rule: Rule, weigh: Weigh, rounds: int, key: PRNGKeyArray) -> Played:
    """Plays so many rounds, or up to the first that never ends.

    Args:
      clock: how long things take.
      rule: when a round is over.
      weigh: round to the weight of each worker's gradients in the result; only ratios matter.
      rounds: number of rounds, at least 1.
      key: key of all gradients' times.

    Raises:
      RunError: what a round gave cannot be right.
    """
    state, parts, left, never = clock.begin(key), [], rounds, None
    while left and never is None:
        wanted = min(left, _length(clock))
        state, rows = _part(clock, rule, state, jnp.int32(wanted), weigh, _length(clock))
        rows = jax.device_get(rows)
        done = int(rows.counted.complete.sum())
        refuse_nonsense(rows.counted, done, rounds - left)
        parts.append(_summary(rows, done, clock))
        left -= done
        if done < wanted:
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


def play_one(clock: Clock, rule: Rule, weigh: Weigh, state: ClockState) -> tuple[Round, ClockState]:
    """The next round, on the host, and the state after it; by the program that plays many."""
    after, rows = jax.device_get(_part(clock, rule, state, jnp.int32(1), weigh, _length(clock)))
    return jax.tree.map(lambda x: x[0], rows.counted), after


def _length(clock: Clock) -> int:
    """Rounds in one call. Counts go to the host in parts: their sum needs 64 bits."""
    return max(1, min(_LENGTH, _TABLE // clock.workers))


@functools.partial(jax.jit, static_argnames=("weigh", "length"))
def _part(
    clock: Clock, rule: Rule, state: ClockState, wanted: Int[Array, ""], weigh: Weigh, length: int
) -> tuple[ClockState, _Row]:
    """At most `length` rounds: as many as wanted, or up to one that never ends; the rest is incomplete and empty."""

    def one(state: ClockState) -> tuple[ClockState, _Row]:
        counted, after = play_round(clock, rule, state)
        weight, count = weigh(counted), counted.counts.astype(jnp.float32)
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
