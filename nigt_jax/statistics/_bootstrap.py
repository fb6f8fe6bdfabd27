"""Bootstrap intervals over seeds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SAMPLES = 5000


class Interval(NamedTuple):
    """A statistic of some runs, and where it lies with 95% confidence.

    Attributes:
      value: of the runs.
      low: 2.5th percentile of resampled runs.
      high: 97.5th percentile.
    """

    value: float
    low: float
    high: float


def stratified(
    statistic: Callable[..., np.ndarray], *scores: Float[np.ndarray, "runs tasks"], samples: int = SAMPLES
) -> Interval:
    """The percentile bootstrap of a statistic of one or more groups of runs, resampled within each group and task.

    Args:
      statistic: maps groups, each [..., runs, tasks], to numbers [...]; infinite ones are possible, such as times that
        were never reached.
      scores: the groups.
      samples: how often they are resampled, from a fixed seed.

    References:
      Agarwal et al., `Deep Reinforcement Learning at the Edge of the Statistical Precipice
      <https://arxiv.org/abs/2108.13264>`_, 2021
    """
    draw = np.random.default_rng(0)

    def resampled(group: np.ndarray) -> np.ndarray:
        rows = draw.integers(group.shape[0], size=(samples, *group.shape))
        return np.take_along_axis(group[None], rows, axis=1)

    drawn = np.sort(statistic(*map(resampled, scores)))
    # Without interpolation, which has no meaning beside infinite values.
    low, high = (drawn[round(q * (samples - 1))] for q in (0.025, 0.975))
    return Interval(float(statistic(*scores)), float(low), float(high))


def interval(
    statistic: Callable[[np.ndarray], np.ndarray], values: Float[np.ndarray, " runs"], samples: int = SAMPLES
) -> Interval:
    """:func:`stratified` of the runs of a single task; the statistic maps [..., runs] to [...]."""
    one_task = np.asarray(values, np.float64)[:, None]
    return stratified(lambda group: statistic(group[..., 0]), one_task, samples=samples)
