"""Methods that update at every arrival: a worker that sends a gradient is sent new parameters at once, and alone."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.clocks import Clock, begin_arrivals, is_accepted, next_arrival, to_float64


class Arrivals(NamedTuple):
    """Gradients that reached the server, in order.

    Attributes:
      worker: number of the worker whose it was, from 0.
      ready: when it had computed it.
      sending: when the exchange began; later only where workers wait for a shared link.
      time: time of the arrival.
      counted: whether it made an update; otherwise it was discarded for its delay.
      delay: updates made since its worker was sent its query point.
    """

    worker: Int[np.ndarray, " arrivals"]
    ready: Float[np.ndarray, " arrivals"]
    sending: Float[np.ndarray, " arrivals"]
    time: Float[np.ndarray, " arrivals"]
    counted: Bool[np.ndarray, " arrivals"]
    delay: Int[np.ndarray, " arrivals"]


def play_arrivals(clock: Clock, max_delay: int, arrivals: int, key: PRNGKeyArray) -> Arrivals:
    """The first arrivals at the server.

    Args:
      clock: how long things take; its topology is parallel-links or shared-link.
      max_delay: delay in updates from which on a gradient is discarded.
      arrivals: how many.
      key: key of all gradients' times.

    Returns:
      So many; fewer where no worker answers any more.
    """
    rows = jax.device_get(_play(clock, jnp.int32(max_delay), key, arrivals))
    time, due = to_float64(rows.time), to_float64(rows.ready)
    seen = int(np.argmin(np.append(np.isfinite(time), False)))
    exchange = np.asarray(clock.exchange, np.float64)[rows.worker]
    ready = due if clock.topology == "shared-link" else due - exchange
    whole = Arrivals(rows.worker, ready, time - exchange, time, rows.counted, rows.delay)
    return Arrivals(*(x[:seen] for x in whole))


class _Row(NamedTuple):
    """One arrival as it leaves the compiled program."""

    worker: Any
    ready: Any
    time: Any
    counted: Any
    delay: Any


@functools.partial(jax.jit, static_argnames="arrivals")
def _play(clock: Clock, max_delay: Int[Array, ""], key: PRNGKeyArray, arrivals: int) -> _Row:
    def step(carry: tuple, _: None) -> tuple[tuple, _Row]:
        state, updates, sent_at = carry
        worker, _answered, after = next_arrival(clock, state)
        delay = updates - sent_at[worker]
        counted = is_accepted(delay, max_delay)
        updates = updates + counted.astype(jnp.int32)
        due = jax.tree.map(lambda x: x[worker], state.due)
        row = _Row(worker.astype(jnp.int32), due, after.now, counted, delay)
        return (after, updates, sent_at.at[worker].set(updates)), row

    start = (begin_arrivals(clock, key), jnp.zeros([], jnp.int32), jnp.zeros(clock.workers, jnp.int32))
    return jax.lax.scan(step, start, length=arrivals)[1]
