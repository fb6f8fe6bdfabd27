r"""One wake-up of one node, after Sha, Zhang, You, Zhang and Basar: pull, gradient, push, step, send.

.. math::
    x_i &\leftarrow R_{ii} \tilde x_i + \sum_j R_{ij} \tilde x_j && \text{the newest that has arrived} \\
    y_i &\leftarrow C_{ii} y_i + \sum_j C_{ij} (\text{all of } y_j \text{ not yet read}) + \Delta_i \\
    \tilde x_i &\leftarrow x_i - a y_i && \text{sent with } y_i

where :math:`\Delta_i` is by how much the node's own gradient at :math:`x_i` differs from the one before, rows of R and
columns of C sum to 1. So at every moment what nodes keep of their trackers, and what is under way, sums up to the sum
of their gradients.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.related import graph
from nigt_jax.related.async_evaluation._gradients import Data, LocalGradient, Woken
from nigt_jax.related.async_evaluation._mail import (
    Mail,
    begin_mail,
    last_totals,
    newest_of,
    send,
    unread,
)


class Wiring(NamedTuple):
    """Who hears whom, and with which weights; rows are filled up with oneself and weights of 0.

    Attributes:
      senders: whom each node hears, [nodes, senders].
      linked: which of these there are.
      pull: R_ij, the weight of each sender's point; rows sum to 1 with `pull_own`.
      pull_own: R_ii.
      push: C_ij, the part of each sender's tracker; a sender's parts sum to 1 with its `push_own`.
      push_own: C_ii.
      receivers: how many hear each node.
    """

    senders: Int[Any, "nodes senders"]
    linked: Bool[Any, "nodes senders"]
    pull: Float[Any, "nodes senders"]
    pull_own: Float[Any, " nodes"]
    push: Float[Any, "nodes senders"]
    push_own: Float[Any, " nodes"]
    receivers: Int[Any, " nodes"]


def wire(links: graph.Links) -> Wiring:
    """A graph with even weights, as NumPy arrays; a node needs to know only how many it hears, and how many hear it."""
    rows, columns = graph.row_stochastic(links), graph.column_stochastic(links)
    widest = max(1, int(links.sum(1).max()))
    # Those heard come first, in the order of their numbers.
    order = np.argsort(~links, axis=1, kind="stable")[:, :widest]
    linked = np.take_along_axis(links, order, 1)
    own = np.arange(len(links))[:, None]
    taken = lambda weights: np.where(linked, np.take_along_axis(weights, order, 1), 0.0)
    return Wiring(
        senders=np.where(linked, order, own).astype(np.int32),
        linked=linked,
        pull=taken(rows),
        pull_own=np.diag(rows).copy(),
        push=taken(columns),
        push_own=np.diag(columns).copy(),
        receivers=links.sum(0).astype(np.int32),
    )


class Network(NamedTuple):
    """What does not change.

    Attributes:
      data: of the nodes.
      wiring: who hears whom.
      delays: how long messages of each node are under way, in time units.
      step_size: a.
    """

    data: Data
    wiring: Wiring
    delays: Float[Any, " nodes"]
    step_size: Float[Any, ""]


class Nodes(NamedTuple):
    """What nodes have; a number z is [theta, w].

    Attributes:
      x: z of each node.
      ahead: what it has sent last, a step of the tracker ahead of x.
      share: C_ii y_i, its own part of its tracker.
      gradient: its own gradient.
      kept: what it keeps to compute that.
      used: of every sender, the sum of trackers that the node has read.
      mail: messages.
      lost: whether a node has ever looked for a message that was not kept any more.
    """

    x: Float[Array, "nodes numbers"]
    ahead: Float[Array, "nodes numbers"]
    share: Float[Array, "nodes numbers"]
    gradient: Float[Array, "nodes numbers"]
    kept: Any
    used: Float[Array, "nodes senders numbers"]
    mail: Mail
    lost: Bool[Array, ""]


def begin_nodes(network: Network, local: LocalGradient, start: Float[Array, " numbers"], kept_sends: int) -> Nodes:
    """All nodes at the same point at time 0, when each sends its first message."""
    gradient = network.data.gradients(start)
    x = jnp.broadcast_to(start, gradient.shape)
    ahead = x - network.step_size * gradient
    return Nodes(
        x=x,
        ahead=ahead,
        share=network.wiring.push_own[:, None] * gradient,
        gradient=gradient,
        kept=local.begin(network.data, start),
        used=jnp.zeros((*network.wiring.senders.shape, start.size)),
        mail=begin_mail(start, ahead, gradient, kept_sends),
        lost=jnp.zeros([], bool),
    )


def wake(
    network: Network, local: LocalGradient, nodes: Nodes, woken: Woken, now: Float[Array, ""]
) -> tuple[Nodes, Float[Array, ""]]:
    """One node wakes up.

    Args:
      network: what does not change.
      local: how the node's own gradient changes.
      nodes: what they have.
      woken: which node wakes up.
      now: when, in time units.

    Returns:
      What nodes have then, and the age of the oldest message that was used, infinite where it was not kept any more.
    """
    wiring, node = network.wiring, woken.node
    senders, linked = wiring.senders[node], wiring.linked[node]
    letters = newest_of(nodes.mail, senders, network.delays[senders], now)
    x = wiring.pull_own[node] * nodes.ahead[node] + wiring.pull[node] @ letters.point
    kept, change = local.change(network.data, nodes.kept, nodes.gradient, woken, x)
    arrived = wiring.push[node] @ unread(letters.total, nodes.used[node])
    y = nodes.share[node] + arrived + change
    ahead = x - network.step_size * y
    put = lambda of_all, new: of_all.at[woken.kept_as].set(new, mode="drop")
    oldest = jnp.max(jnp.where(linked & (woken.kept_as == node), letters.age, 0.0))
    after = Nodes(
        x=put(nodes.x, x),
        ahead=put(nodes.ahead, ahead),
        share=put(nodes.share, wiring.push_own[node] * y),
        gradient=put(nodes.gradient, nodes.gradient[node] + change),
        kept=kept,
        used=put(nodes.used, letters.total),
        mail=send(nodes.mail, woken.kept_as, now, ahead, y),
        lost=nodes.lost | jnp.isinf(oldest),
    )
    return after, oldest


def mass_error(network: Network, nodes: Nodes) -> Float[Array, ""]:
    """By how much trackers, kept and under way, miss the sum of the nodes' gradients: the largest coordinate.

    It is 0, but for rounding, whatever delays, speeds and orders are, if no message is lost or read twice.
    """
    wiring = network.wiring
    waiting = last_totals(nodes.mail)[wiring.senders] - nodes.used
    under_way = jnp.einsum("is,isn->n", wiring.push, waiting)
    return jnp.max(jnp.abs(nodes.share.sum(0) + under_way - nodes.gradient.sum(0)))
