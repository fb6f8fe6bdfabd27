"""Who hears whom, in systems without a server."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import LARGEST_SEED, RULES, setting

GRAPHS = {
    "ring": "everybody hears the two beside it",
    "directed_ring": "everybody hears the one before it",
    "offsets": "agent j sends to j + s, modulo their number, for every s of the offsets",
    "line": "a ring that is not joined at its ends",
    "complete": "everybody hears everybody",
    "random": "a directed ring, and further agents at random, so that each sends to as many as there are neighbours",
}
WEIGHTS = {
    "metropolis": "symmetric, rows and columns sum to 1; links in both directions, which random ones are given then",
    "even": "all whom an agent hears, itself among them, count alike: rows sum to 1",
    "random": "drawn evenly, and rows scaled to sum to 1",
}


@dataclass(frozen=True, kw_only=True, config=RULES)
class LinksConfig:
    """Who hears whom; everything has to reach everybody."""

    kind: Literal[tuple(GRAPHS)] = setting(  # type: ignore[valid-type]
        "ring", "; ".join(f"{kind}: {meaning}" for kind, meaning in GRAPHS.items())
    )
    offsets: tuple[Annotated[int, Field(ge=1)], ...] = setting((1, 3), "of kind offsets", "agents")
    neighbours: int = setting(3, "of kind random: agents that each sends to", "agents", ge=1, le=10_000)
    seed: int = setting(0, "of what is drawn", ge=0, le=LARGEST_SEED)


@dataclass(frozen=True, kw_only=True, config=RULES)
class GraphConfig(LinksConfig):
    """Who hears whom, and how much it counts."""

    weights: Literal[tuple(WEIGHTS)] = setting(  # type: ignore[valid-type]
        "metropolis", "what an agent gives to each whom it hears; " + "; ".join(f"{k}: {v}" for k, v in WEIGHTS.items())
    )
