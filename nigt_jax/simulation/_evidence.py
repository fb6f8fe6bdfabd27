"""How often predictions of who is faster were right where both were trained: what makes advice more or less sure.

``evidence.json`` is what ``nigt report`` wrote of the sweeps in docs/results. Needs no JAX.
"""

import functools
import importlib.resources
import json
import math
from typing import Any, NamedTuple

_FEWEST = 8  # pairs; of fewer nothing is said


class Sureness(NamedTuple):
    """How often the faster of two methods by prediction was so in training, where it was predicted by as much.

    Attributes:
      right: pairs of which that was so.
      pairs: all pairs.
    """

    right: int
    pairs: int


@functools.cache
def _evidence() -> dict[str, Any]:
    text = (importlib.resources.files("nigt_jax.simulation") / "evidence.json").read_text(encoding="utf-8")
    return json.loads(text)


def how_sure(ratio: float, *methods: str) -> Sureness | None:
    """What is known of predictions that one method takes `ratio` times as long as another; None where too little is.

    Args:
      ratio: of predicted times, at least 1.
      methods: their names; nothing is known of one that was not among those that were trained.
    """
    if not set(methods) <= set(_evidence()["methods"]):
        return None
    for row in _evidence()["ratios"]:
        if row["least"] <= ratio < (math.inf if row["below"] is None else row["below"]):
            return Sureness(row["right"], row["pairs"]) if row["pairs"] >= _FEWEST else None
    return None


def source_of_evidence() -> str:
    """The sweeps that the evidence comes from."""
    return _evidence()["source"]
