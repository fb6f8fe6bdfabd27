r"""How noisy the direction of a step is, relative to one gradient. Needs no JAX.

The direction is :math:`d_t = (1 - \eta) d_{t-1} + \eta g_t`. Where the g of different rounds have independent errors of
variance :math:`\sigma^2 / M`, that of d settles at :math:`\frac{\eta}{2 - \eta} \frac{\sigma^2}{M}`, the sum of a
geometric series: momentum is worth :math:`(2 - \eta) / \eta` times the gradients of one round.
"""

import math


def direction_noise(weight: float | int, gradients: float | int) -> float:
    """The direction's standard deviation, in units of sigma, that of one gradient.

    Args:
      weight: eta, of the newest gradient.
      gradients: equally good independent ones in a round's mean.
    """
    return math.sqrt(weight / ((2 - weight) * gradients))


def batch_needed(weight: float | int, noise: float | int) -> int:
    """The least batch size M that brings the direction's noise down to `noise`, in units of sigma."""
    exact = weight / ((2 - weight) * noise**2)
    return max(1, math.ceil(exact * (1 - 1e-9)))  # what only rounding puts above a whole number is that number


def weight_needed(noise: float | int) -> float:
    """The largest weight of the newest gradient with which directions of single gradients have that noise, or less."""
    return 2 * noise**2 / (1 + noise**2)
