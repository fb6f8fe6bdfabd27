"""One run's curve: its return against whatever it is measured by."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Curve(NamedTuple):
    """Evaluations of a run, in order.

    Attributes:
      at: when each was made, increasing: simulated time, gradients, or whatever is looked at.
      value: what it gave.
    """

    at: Float[np.ndarray, " evaluations"]
    value: Float[np.ndarray, " evaluations"]


def area(curve: Curve, end: float) -> float:
    """The mean of a curve from its start to `end`, by trapezoids: its area, in the unit of its values.

    It is interpolated at `end`, and goes on as it was last where it does not reach so far.
    """
    inside = curve.at < end
    at = np.append(curve.at[inside], end)
    value = np.append(curve.value[inside], value_at(curve, end))
    return float(np.trapezoid(value, at) / (end - at[0])) if end > at[0] else float(value[0])


def value_at(curve: Curve, when: float) -> float:
    """The curve's value, by interpolation."""
    return float(np.interp(when, curve.at, curve.value))


def time_to(curve: Curve, threshold: float) -> float:
    """When the curve first reaches a threshold, by interpolation between evaluations; inf where it does not."""
    reached = np.flatnonzero(curve.value >= threshold)
    if not reached.size:
        return math.inf
    after = int(reached[0])
    if after == 0:
        return float(curve.at[0])
    (t0, t1), (v0, v1) = curve.at[after - 1 : after + 1], curve.value[after - 1 : after + 1]
    return float(t0 + (t1 - t0) * (threshold - v0) / (v1 - v0))


def common_end(curves: Iterable[Curve]) -> float:
    """Where the shortest of the curves ends: up to there all of them can be compared."""
    return min(float(curve.at[-1]) for curve in curves)
