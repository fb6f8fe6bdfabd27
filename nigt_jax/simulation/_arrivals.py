"""Methods that update at every arrival: a worker that sends a gradient is sent new parameters at once, and alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ArrivalRule, Clock, Fate, NeverEnds, begin_arrivals, in_vain, next_arrival, to_float64
from nigt_jax.simulation._sized import sized

Rules = tuple[ArrivalRule, ...]


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
    return play_under(clock, (rule,), arrivals, key)[0]


def play_under(
    clock: Clock, rules: Rules, arrivals: int, key: PRNGKeyArray
) -> tuple[tuple[Arrivals, NeverEnds | None], ...]:
    """The same under each of several rules: who arrives when is a matter of the clock alone, and is played once."""
    rows, waits_for = jax.device_get(_play(clock, rules, key, arrivals))
    time, due = to_float64(rows.time), to_float64(rows.ready)
    seen = int(np.argmin(np.append(np.isfinite(time), False)))
    exchange = np.asarray(clock.exchange, np.float64)[rows.worker]
    ready = due if clock.topology == "shared-link" else due - exchange
    arrived = rows.worker, ready, time - exchange, time

    def under(fate: Any, waits_for: Any) -> tuple[Arrivals, NeverEnds | None]:
        whole = Arrivals(*arrived, fate.absorbed, fate.updates, fate.delay, fate.worth)
        played = Arrivals(*(x[:seen] for x in whole))
        never = in_vain(clock, waits_for, int(played.updates.sum()) + 1) if waits_for.any() else None
        return played, never

    return tuple(map(under, rows.fates, waits_for))


class _Row(NamedTuple):
    """One arrival as it leaves the compiled program."""

    worker: Any
    ready: Any
    time: Any
    fates: tuple[Fate, ...]


class _Server(NamedTuple):
    """What a server of one rule knows before an arrival.

    Attributes:
      kept: what its rule keeps.
      updates: updates made.
      sent_at: updates made when each worker was sent its query point.
    """

    kept: Any
    updates: Int[Array, ""]
    sent_at: Int[Array, " workers"]


@sized("arrivals")
def _play(
    clock: Clock, rules: Rules, key: PRNGKeyArray, arrivals: int
) -> tuple[_Row, tuple[Bool[Array, " workers"], ...]]:
    def step(carry: tuple, _: None) -> tuple[tuple, _Row]:
        state, servers = carry
        worker, answered, after = next_arrival(clock, state)

        def take(rule: ArrivalRule, server: _Server) -> tuple[_Server, Fate]:
            fate, taken = rule.take(server.kept, worker, server.sent_at[worker], server.updates)
            kept = jax.tree.map(lambda new, old: jnp.where(answered, new, old), taken, server.kept)
            updates = server.updates + fate.updates.astype(jnp.int32)
            # What is collected where is nothing that is reported.
            return _Server(kept, updates, server.sent_at.at[worker].set(updates)), fate._replace(entry=())

        servers, fates = zip(*map(take, rules, servers), strict=True)
        due = jax.tree.map(lambda x: x[worker], state.due)
        return (after, servers), _Row(worker.astype(jnp.int32), due, after.now, fates)

    nobody = jnp.zeros(clock.workers, jnp.int32)
    servers = tuple(_Server(rule.begin(clock.workers), nobody[0], nobody) for rule in rules)
    (state, servers), rows = jax.lax.scan(step, (begin_arrivals(clock, key), servers), length=arrivals)
    silent = jnp.isinf(state.due.high)
    return rows, tuple(rule.waits_for(server.kept, silent) for rule, server in zip(rules, servers, strict=True))
