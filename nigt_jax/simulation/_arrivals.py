"""Methods that update at every arrival: a worker that sends a gradient is sent new parameters at once, and alone."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ArrivalRule, Clock, Fate, begin_arrivals, next_arrival, to_float64


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
    """

    worker: Int[np.ndarray, " arrivals"]
    ready: Float[np.ndarray, " arrivals"]
    sending: Float[np.ndarray, " arrivals"]
    time: Float[np.ndarray, " arrivals"]
    counted: Bool[np.ndarray, " arrivals"]
    updates: Bool[np.ndarray, " arrivals"]
    delay: Int[np.ndarray, " arrivals"]


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
    rows = jax.device_get(_play(clock, rule, key, arrivals))
    time, due = to_float64(rows.time), to_float64(rows.ready)
    seen = int(np.argmin(np.append(np.isfinite(time), False)))
    exchange = np.asarray(clock.exchange, np.float64)[rows.worker]
    ready = due if clock.topology == "shared-link" else due - exchange
    fate = rows.fate
    whole = Arrivals(rows.worker, ready, time - exchange, time, fate.absorbed, fate.updates, fate.delay)
    return Arrivals(*(x[:seen] for x in whole))


class _Row(NamedTuple):
    """One arrival as it leaves the compiled program."""

    worker: Any
    ready: Any
    time: Any
    fate: Fate


@functools.partial(jax.jit, static_argnames="arrivals")
def _play(clock: Clock, rule: ArrivalRule, key: PRNGKeyArray, arrivals: int) -> _Row:
    def step(carry: tuple, _: None) -> tuple[tuple, _Row]:
        state, kept, updates, sent_at = carry
        worker, _answered, after = next_arrival(clock, state)
        fate, kept = rule.take(kept, worker, sent_at[worker], updates)
        updates = updates + fate.updates.astype(jnp.int32)
        due = jax.tree.map(lambda x: x[worker], state.due)
        row = _Row(worker.astype(jnp.int32), due, after.now, fate)
        return (after, kept, updates, sent_at.at[worker].set(updates)), row

    zero = jnp.zeros([], jnp.int32)
    start = (begin_arrivals(clock, key), rule.begin(clock.workers), zero, jnp.zeros(clock.workers, jnp.int32))
    return jax.lax.scan(step, start, length=arrivals)[1]
