"""From a configuration to a graph and its weights."""

import numpy as np

from nigt_jax.config.systems import GraphConfig
from nigt_jax.related import graph
from nigt_jax.related.graph import Links, Weights

_LINKS = {
    "ring": graph.ring,
    "directed_ring": graph.directed_ring,
    "line": graph.line,
    "complete": graph.complete,
}


def make_links(config: GraphConfig, agents: int) -> Links:
    """Who hears whom.

    Raises:
      UserError: what an agent knows does not reach every other one.
    """
    if config.kind == "random":
        links = graph.random_digraph(agents, config.neighbours, config.seed)
        links = graph.undirected(links) if config.weights == "metropolis" else links
    else:
        links = _LINKS[config.kind](agents)
    graph.check_connected(links)
    return links


def make_weights(config: GraphConfig, links: Links) -> Weights:
    """What an agent gives to each whom it hears; rows sum to 1.

    Raises:
      UserError: links have one direction, and the weights need both.
    """
    if config.weights == "metropolis":
        weights = graph.metropolis(links)
    elif config.weights == "even":
        weights = graph.row_stochastic(links)
    else:
        drawn = np.random.default_rng(config.seed + 1).uniform(size=links.shape) * (
            links | np.eye(len(links), dtype=bool)
        )
        weights = drawn / drawn.sum(1, keepdims=True)
    graph.check_stochastic(weights, links, columns=False)
    return weights
