"""Methods that update at every arrival: a worker that sends a gradient is sent new parameters at once, and alone."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ArrivalRule, Clock, Fate, NeverEnds, begin_arrivals, in_vain, next_arrival, to_float64


class Arrivals(NamedTuple):
    """Gradients that reached the server, in order.

    Attributes:
      worker: number of the worker whose it was, from 0.
      ready: when it had computed it.
      sending: when the exchange began; later only where workers wait for a shared link.
      time: time of the arrival.
      counted: whether it was absorbed; otherwise it was discarded for its delay.
      updates: whether it made an update.
      delay: updates made since its worker was sent its query point; where it made an update, since that of the oldest
        gradient in it.
      worth: gradients that are as good as its update, where it made one, and that are in no other update.
    """

    worker: Int[np.ndarray, " arrivals"]
    ready: Float[np.ndarray, " arrivals"]
    sending: Float[np.ndarray, " arrivals"]
    time: Float[np.ndarray, " arrivals"]
    counted: Bool[np.ndarray, " arrivals"]
    updates: Bool[np.ndarray, " arrivals"]
    delay: Int[np.ndarray, " arrivals"]
    worth: Float[np.ndarray, " arrivals"]


def play_arrivals(clock: Clock, rule: ArrivalRule, arrivals: int, key: PRNGKeyArray) -> Arrivals:
    """The first arrivals at the server.

    Args:
      clock: how long things take; its topology is parallel-links or shared-link.
      rule: what becomes of a gradient that arrives.
      arrivals: how many.
      key: key of all gradients' times.

    Returns:
      So many; fewer where no worker answers any more.
    """
    return play_on(clock, rule, arrivals, key)[0]


def play_on(clock: Clock, rule: ArrivalRule, arrivals: int, key: PRNGKeyArray) -> tuple[Arrivals, NeverEnds | None]:
    """The first arrivals, and the update that never comes after them, if it is known by then that none does."""
    rows, waits_for = jax.device_get(_play(clock, rule, key, arrivals))
    time, due = to_float64(rows.time), to_float64(rows.ready)
    seen = int(np.argmin(np.append(np.isfinite(time), False)))
    exchange = np.asarray(clock.exchange, np.float64)[rows.worker]
    ready = due if clock.topology == "shared-link" else due - exchange
    fate = rows.fate
    whole = Arrivals(rows.worker, ready, time - exchange, time, fate.absorbed, fate.updates, fate.delay, fate.worth)
    played = Arrivals(*(x[:seen] for x in whole))
    never = in_vain(clock, waits_for, int(played.updates.sum()) + 1) if waits_for.any() else None
    return played, never


class _Row(NamedTuple):
    """One arrival as it leaves the compiled program."""

    worker: Any
    ready: Any
    time: Any
    fate: Fate


@functools.partial(jax.jit, static_argnames="arrivals")
def _play(clock: Clock, rule: ArrivalRule, key: PRNGKeyArray, arrivals: int) -> tuple[_Row, Bool[Array, " workers"]]:
    def step(carry: tuple, _: None) -> tuple[tuple, _Row]:
        state, kept, updates, sent_at = carry
        worker, answered, after = next_arrival(clock, state)
        fate, taken = rule.take(kept, worker, sent_at[worker], updates)
        kept = jax.tree.map(lambda new, old: jnp.where(answered, new, old), taken, kept)
        updates = updates + fate.updates.astype(jnp.int32)
        due = jax.tree.map(lambda x: x[worker], state.due)
        row = _Row(worker.astype(jnp.int32), due, after.now, fate)
        return (after, kept, updates, sent_at.at[worker].set(updates)), row

    zero = jnp.zeros([], jnp.int32)
    start = (begin_arrivals(clock, key), rule.begin(clock.workers), zero, jnp.zeros(clock.workers, jnp.int32))
    (state, kept, *_), rows = jax.lax.scan(step, start, length=arrivals)
    return rows, rule.waits_for(kept, jnp.isinf(state.due.high))
