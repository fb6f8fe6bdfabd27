"""Messages under way, without a queue: every sender keeps its last ones, and a receiver takes the newest there.

A message carries the sender's point and the sum of all that its tracker has ever been. What a receiver has not used
yet is the difference to the sum that it used last, so messages may be skipped, and nothing is lost or read twice.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Mail(NamedTuple):
    """The last messages of every node, in rings. Before its first one, for ever ago, is the point that all start at.

    Attributes:
      time: when each was sent, in time units.
      point: the sender's point.
      total: sum of the sender's trackers, those of this message and of all before.
      sends: messages that each node has ever sent, the one of the start included.
    """

    time: Float[Array, "nodes kept"]
    point: Float[Array, "nodes kept numbers"]
    total: Float[Array, "nodes kept numbers"]
    sends: Int[Array, " nodes"]


class Letters(NamedTuple):
    """The newest message that has arrived from each of some senders.

    Attributes:
      point: the sender's point.
      total: sum of its trackers.
      age: time since it was sent, or since the start; infinite where it is not kept any more.
    """

    point: Float[Array, "senders numbers"]
    total: Float[Array, "senders numbers"]
    age: Float[Array, " senders"]


def begin_mail(
    start: Float[Array, " numbers"], point: Float[Array, "nodes numbers"], y: Float[Array, "nodes numbers"], kept: int
) -> Mail:
    """The mail when all nodes, which start at the same point, have sent their first message at time 0."""
    nodes, numbers = point.shape
    # Finite, to tell it from what is under way.
    always = jnp.full((nodes, kept), jnp.finfo(start.dtype).min, start.dtype)
    total = jnp.zeros((nodes, kept, numbers), start.dtype)
    return Mail(
        time=always.at[:, 0].set(0),
        point=jnp.broadcast_to(start, total.shape).at[:, 0].set(point),
        total=total.at[:, 0].set(accumulated(total[:, 0], y)),
        sends=jnp.ones(nodes, jnp.int32),
    )


def send(
    mail: Mail,
    node: Int[Array, ""],
    now: Float[Array, ""],
    point: Float[Array, " numbers"],
    y: Float[Array, " numbers"],
) -> Mail:
    """The mail after `node` has sent a point and a tracker; unchanged where there is no such node."""
    kept = mail.time.shape[1]
    known = jnp.minimum(node, mail.sends.shape[0] - 1)
    slot = mail.sends[known] % kept
    total = accumulated(mail.total[known, (slot - 1) % kept], y)
    put = lambda ring, new: ring.at[node, slot].set(new, mode="drop")
    return Mail(
        put(mail.time, now), put(mail.point, point), put(mail.total, total), mail.sends.at[node].add(1, mode="drop")
    )


def newest_of(
    mail: Mail, senders: Int[Array, " senders"], delays: Float[Array, " senders"], now: Float[Array, ""]
) -> Letters:
    """What each sender sent last of what has arrived by `now`, each after its delay."""
    time = mail.time[senders]
    arrived = time + delays[:, None] <= now
    newest = jnp.argmax(jnp.where(arrived, time, -jnp.inf), axis=1)
    sent = jnp.maximum(jnp.take_along_axis(time, newest[:, None], 1)[:, 0], 0.0)
    age = jnp.where(arrived.any(1), now - sent, jnp.inf)
    return Letters(mail.point[senders, newest], mail.total[senders, newest], age)


def last_totals(mail: Mail) -> Float[Array, "nodes numbers"]:
    """The sum of all trackers that each node has sent, arrived or not."""
    nodes, kept = mail.time.shape
    return mail.total[jnp.arange(nodes), (mail.sends - 1) % kept]


def accumulated(total: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What a message carries of the trackers."""
    return total + y


def unread(total: Float[Array, "*shape"], used: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What a receiver has to add, of what messages carry and what it used last."""
    return total - used
