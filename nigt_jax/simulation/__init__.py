"""Clocks only: what methods would cost on given workers, with no environment, no policy and no training.

Only what checks a user's input is imported at once; the rest imports JAX, and is loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nigt_jax.simulation._noise import batch_needed, direction_noise, newest_weight

if TYPE_CHECKING:
    from nigt_jax.clocks import NeverEnds
    from nigt_jax.simulation._answer import Answer, Choice, answer
    from nigt_jax.simulation._arrivals import play_arrivals
    from nigt_jax.simulation._compare import Comparison, compare
    from nigt_jax.simulation._figures import Figures
    from nigt_jax.simulation._picture import draw
    from nigt_jax.simulation._platform import use_cpu
    from nigt_jax.simulation._save import to_json
    from nigt_jax.simulation._tables import show
    from nigt_jax.simulation._theory import Bounds, malenia_bounds, rennala_bounds
    from nigt_jax.simulation._timeline import Timeline, make_timeline

_HOME = {
    "Answer": "_answer",
    "Bounds": "_theory",
    "Choice": "_answer",
    "Comparison": "_compare",
    "Figures": "_figures",
    "NeverEnds": "_figures",
    "Timeline": "_timeline",
    "answer": "_answer",
    "compare": "_compare",
    "draw": "_picture",
    "make_timeline": "_timeline",
    "malenia_bounds": "_theory",
    "play_arrivals": "_arrivals",
    "rennala_bounds": "_theory",
    "show": "_tables",
    "to_json": "_save",
    "use_cpu": "_platform",
}

__all__ = [
    "Answer",
    "Bounds",
    "Choice",
    "Comparison",
    "Figures",
    "NeverEnds",
    "Timeline",
    "answer",
    "batch_needed",
    "compare",
    "direction_noise",
    "draw",
    "make_timeline",
    "malenia_bounds",
    "newest_weight",
    "play_arrivals",
    "rennala_bounds",
    "show",
    "to_json",
    "use_cpu",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"nigt_jax.simulation.{_HOME[name]}"), name)
