"""One gradient at a time: which worker's arrives next, and when."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._clock import Clock, ClockState, finishing_times
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._time import SimulatedTime, time_zero


class ArrivalState(NamedTuple):
    """What workers are doing when a gradient has arrived.

    Attributes:
      now: simulated time.
      due: when each worker's gradient reaches the server, or on a shared link the queue for it; absolute, [workers].
      begun: gradients that each worker has begun since the start of the run.
      key: key of all gradients' work.
    """

    now: SimulatedTime
    due: Pair
    begun: Int[Array, " workers"]
    key: PRNGKeyArray


def begin_arrivals(clock: Clock, key: PRNGKeyArray) -> ArrivalState:
    """The state at time 0, when every worker begins its first gradient."""
    state = ArrivalState(time_zero(), clock.at_once, jnp.zeros(clock.workers, jnp.int32), key)
    return state._replace(due=_due(clock, state), begun=state.begun + 1)


def next_arrival(clock: Clock, state: ArrivalState) -> tuple[Int[Array, ""], Bool[Array, ""], ArrivalState]:
    """The next gradient to reach the server, whose worker at once begins another.

    On ``parallel-links`` worker i takes h_i + kappa_i from query point to arrival. On a ``shared-link`` gradients queue
    for the server's one link, first come first served, and each occupies it for kappa_i. Ties go to the lower worker.

    Args:
      clock: how long things take; of the two topologies above.
      state: after the arrival before.

    Returns:
      The worker, whether there is one at all, and the state after; its ``now`` is the time of the arrival.
    """
    first = pairs.smallest(state.due)
    worker = jnp.argmax(pairs.equal(state.due, pairs.broadcast(first, state.due.high.shape))).astype(jnp.int32)
    if clock.topology == "shared-link":
        free = pairs.where(pairs.less(first, state.now), state.now, first)
        first = pairs.add(free, widen(clock.exchange[worker]))
    after = state._replace(now=first)
    due = jax.tree.map(lambda old, new: old.at[worker].set(new[worker]), state.due, _due(clock, after))
    begun = state.begun.at[worker].add(1)
    there = jnp.isfinite(first.high) & (begun[worker] > state.begun[worker])  # numbers of gradients may run out
    return worker, there, after._replace(due=due, begun=begun)


def _due(clock: Clock, state: ArrivalState) -> Pair:
    """When a gradient that is begun now would reach the server (or its queue), for each worker."""
    begun = ClockState(state.now, clock.at_once, state.begun, state.key)
    after = finishing_times(clock, begun, jnp.zeros(clock.workers, jnp.int32), clock.at_once, 1)
    spent = Pair(after.high[:, 0], after.low[:, 0])
    if clock.topology != "shared-link":
        spent = pairs.add(spent, widen(clock.exchange))
    return pairs.add(pairs.broadcast(state.now, spent.high.shape), spent)
