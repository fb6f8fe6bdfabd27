"""Who hears whom, in systems without a server."""

from typing import Literal

from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, setting

GRAPHS = {
    "ring": "everybody hears the two beside it",
    "directed_ring": "everybody hears the one before it",
    "line": "a ring that is not joined at its ends",
    "complete": "everybody hears everybody",
    "random": "a directed ring, and further agents at random, so that each sends to as many as there are neighbours",
}
WEIGHTS = {
    "metropolis": "symmetric, rows and columns sum to 1; links in both directions",
    "even": "all whom an agent hears, itself among them, count alike: rows sum to 1",
    "random": "drawn evenly, and rows scaled to sum to 1",
}


@dataclass(frozen=True, kw_only=True, config=RULES)
class GraphConfig:
    """Who hears whom, and how much it counts."""

    kind: Literal[tuple(GRAPHS)] = setting("ring", "which agents are linked")  # type: ignore[valid-type]
    neighbours: int = setting(3, "of a random graph: agents that each sends to", "agents", ge=1)
    weights: Literal[tuple(WEIGHTS)] = setting(  # type: ignore[valid-type]
        "metropolis", "what an agent gives to each whom it hears"
    )
    seed: int = setting(0, "of random links and weights", ge=0, le=2**32 - 1)
