"""Everything that was found, as one JSON file."""

import dataclasses
import json
from typing import Any

from nigt_jax.simulation._answer import Answer
from nigt_jax.simulation._compare import Comparison
from nigt_jax.simulation._figures import Figures

_OF_WORKERS = ("counted", "shares", "discarded")


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
        "clocks": {name: dataclasses.asdict(figures) for name, figures in comparison.figures.items()},
        "not_available": comparison.not_available,
        "by_batch_size": {
            name: [_short(figures) for figures in tried.values()] for name, tried in comparison.by_batch_size.items()
        },
        "answer": dataclasses.asdict(answer),
    }
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


def _short(figures: Figures) -> dict[str, Any]:
    """Without what there is of every worker."""
    return {key: value for key, value in dataclasses.asdict(figures).items() if key not in _OF_WORKERS}
