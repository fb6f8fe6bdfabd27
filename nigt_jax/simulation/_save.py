"""Everything that was found, as one JSON file."""

import json
from typing import Any

from nigt_jax.simulation._answer import Answer
from nigt_jax.simulation._compare import Comparison
from nigt_jax.simulation._figures import Figures

_OF_WORKERS = ("counted", "shares", "discarded")
_INDENTED = 1000  # workers; Python indents in Python, a number a line, which takes a minute for a million of them


def to_json(comparison: Comparison, answer: Answer, parameters: int | None) -> str:
    """The text of ``simulation.json``; its keys are the attributes of the classes, explained there and in the docs.

    Args:
      comparison: all methods side by side.
      answer: which method, and which M.
      parameters: number of policy parameters, as given; None where times do not depend on it.
    """
    methods = {method: name for name, f in comparison.figures.items() for method in f.methods}
    whole = {
        "configured": comparison.configured,
        "gradient_times": comparison.gradient_times,
        "parameters": parameters,
        "clock_of": methods,
        "clocks": comparison.figures,
        "not_available": comparison.not_available,
        "by_batch_size": {
            name: [_short(figures) for figures in tried.values()] for name, tried in comparison.by_batch_size.items()
        },
        "answer": answer,
    }
    indent = 1 if len(comparison.gradient_times) <= _INDENTED else None
    return json.dumps(whole, indent=indent, allow_nan=False, default=vars) + "\n"


def _short(figures: Figures) -> dict[str, Any]:
    """Without what there is of every worker."""
    return {key: value for key, value in vars(figures).items() if key not in _OF_WORKERS}
