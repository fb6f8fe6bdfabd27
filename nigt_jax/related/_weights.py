"""From a configuration to a graph and its weights."""

import numpy as np

from nigt_jax.config.systems import GraphConfig, LinksConfig
from nigt_jax.related import graph
from nigt_jax.related.graph import Links, Weights


def make_links(config: LinksConfig, agents: int) -> Links:
    """Who hears whom.

    Raises:
      UserError: what an agent knows does not reach every other one.
    """
    if config.kind == "random":
        links = graph.random_digraph(agents, config.neighbours, config.seed)
    elif config.kind == "offsets":
        links = graph.offsets(agents, config.offsets)
    else:
        links = graph.NAMED[config.kind](agents)
    graph.check_connected(links)
    return links


def make_graph(config: GraphConfig, agents: int) -> tuple[Links, Weights]:
    """Who hears whom, and what an agent gives to each whom it hears; rows sum to 1.

    Raises:
      UserError: what an agent knows does not reach every other one; or links have one direction, and the weights need
        both.
    """
    links = make_links(config, agents)
    if config.weights == "metropolis":
        links = graph.undirected(links) if config.kind == "random" else links
        return links, graph.metropolis(links)
    if config.weights == "even":
        return links, graph.row_stochastic(links)
    heard = links | np.eye(agents, dtype=bool)
    drawn = heard * np.random.default_rng(config.seed + 1).uniform(size=links.shape)
    return links, drawn / drawn.sum(1, keepdims=True)
