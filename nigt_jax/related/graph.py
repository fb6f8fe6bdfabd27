"""Who hears whom, and with which weights: directed graphs of agents, as small matrices on the host.

A weight matrix W has the receiver in its row and the sender in its column: what agent i makes of what all have is
``W[i] @ x``. Every agent hears itself.
"""

import numpy as np
from jaxtyping import Bool, Float

from nigt_jax.errors import UserError

Links = Bool[np.ndarray, "agents agents"]  # [i, j]: whether i hears j; without the diagonal
Weights = Float[np.ndarray, "agents agents"]


def ring(agents: int) -> Links:
    """Each hears the two beside it."""
    return offsets(agents, (1, -1))


def directed_ring(agents: int) -> Links:
    """Each hears the one before it: agent j sends to j + 1."""
    return offsets(agents, (1,))


def offsets(agents: int, steps: tuple[int, ...]) -> Links:
    """Agent j sends to j + s, modulo their number, for every step s."""
    links = np.zeros((agents, agents), bool)
    for step in steps:
        links[(np.arange(agents) + step) % agents, np.arange(agents)] = True
    return links & ~np.eye(agents, dtype=bool)


def line(agents: int) -> Links:
    """Each hears the one or two beside it; the ends are not joined."""
    apart = np.abs(np.subtract.outer(np.arange(agents), np.arange(agents)))
    return apart == 1


def complete(agents: int) -> Links:
    """Everybody hears everybody."""
    return ~np.eye(agents, dtype=bool)


NAMED = {"ring": ring, "directed_ring": directed_ring, "line": line, "complete": complete}
"""Graphs that a number of agents says all of, by the names that a configuration has for them."""


def random_digraph(agents: int, neighbours: int, seed: int) -> Links:
    """A directed ring, and further agents at random, so that each sends to as many as `neighbours`."""
    links, rng = directed_ring(agents), np.random.default_rng(seed)
    for sender in range(agents):
        others = np.setdiff1d(np.arange(agents), [sender, (sender + 1) % agents])
        links[rng.choice(others, min(neighbours - 1, others.size), replace=False), sender] = True
    return links


def undirected(links: Links) -> Links:
    """With every link in both directions."""
    return links | links.T


def row_stochastic(links: Links) -> Weights:
    """An agent gives itself and all whom it hears the same weight; it has to know only how many these are."""
    heard = links + np.eye(len(links))
    return heard / heard.sum(1, keepdims=True)


def column_stochastic(links: Links) -> Weights:
    """An agent splits what it has evenly between itself and all who hear it."""
    return row_stochastic(links.T).T


def metropolis(links: Links) -> Weights:
    """Doubly stochastic and symmetric: 1 / (1 + the larger degree) for a link, the rest for oneself.

    Raises:
      UserError: a link has one direction only.
    """
    if (links != links.T).any():
        raise UserError("graph: got links of one direction, allowed with Metropolis weights: links in both directions")
    degree = links.sum(1)
    weights = links / (1.0 + np.maximum.outer(degree, degree))
    return weights + np.diag(1 - weights.sum(1))


def mixing_rate(weights: Weights) -> float:
    """How much of a disagreement is left after one exchange: the spectral norm of W - 11'/n, below 1 where it fades."""
    return float(np.linalg.norm(weights - 1 / len(weights), 2))


def check_connected(links: Links) -> None:
    """Refuses a graph in which what an agent knows does not reach every other one.

    Raises:
      UserError: names two such agents, numbered from 1.
    """
    reached = np.linalg.matrix_power((links + np.eye(len(links))) > 0, max(1, len(links) - 1))
    if not reached.all():
        receiver, sender = np.argwhere(~reached)[0] + 1
        raise UserError(
            f"graph: nothing that agent {sender} sends ever reaches agent {receiver}, allowed: a graph in which "
            "everything reaches everybody"
        )
