"""What several runs of one kind say together."""

import numpy as np
from jaxtyping import Float


def band(values: Float[np.ndarray, "runs ..."]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 20th percentile, the median and the 80th percentile over runs, as in the paper's figures."""
    low, middle, high = np.percentile(values, [20, 50, 80], axis=0)
    return low, middle, high


def interquartile_mean(scores: Float[np.ndarray, "*samples runs tasks"]) -> np.ndarray:
    """The mean of the middle half of all scores, for each sample.

    References:
      Agarwal et al., `Deep Reinforcement Learning at the Edge of the Statistical Precipice
      <https://arxiv.org/abs/2108.13264>`_, 2021
    """
    from scipy import stats  # takes a second or two to import

    return stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def probability_of_improvement(
    x: Float[np.ndarray, "*samples runs tasks"], y: Float[np.ndarray, "*samples others tasks"]
) -> np.ndarray:
    """The probability that a run of `x` is better than one of `y`, in the mean over tasks; ties count a half.

    Values may be infinite. The numbers of runs may differ.

    References:
      Agarwal et al., 2021, as :func:`interquartile_mean`
    """
    first, second = x[..., :, None, :], y[..., None, :, :]
    return np.mean((first > second) + 0.5 * (first == second), axis=(-3, -2, -1))
