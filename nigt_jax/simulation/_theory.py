"""What theory says of a round's length, for workers that always take the same time and start it idle.

All are about collecting gradients, without the exchange. Times h are of one gradient each, in any order. A worker has
finished floor(t/h) gradients at time t, and x/2 <= floor(x) <= x for x >= 1, floor(x) >= x - 1 always: every bound here
follows from these.
"""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a time has to lie between; equal where it is known exactly.

    Attributes:
      of: "collecting" gradients, or the whole "round".
      at_least: no round is shorter.
      at_most: none is longer; None where nothing is known.
    """

    of: str
    at_least: float
    at_most: float | None


def rennala_bounds(times: Float[np.ndarray, " workers"], batch_size: int) -> Bounds:
    r"""Bounds on Rennala's round.

    At most :math:`2 \min_m \left( \frac{1}{m} \sum_{i \le m} \frac{1}{h_i} \right)^{-1} \left( 1 + \frac{M}{m} \right)`
    for h in ascending order, as published: the m fastest alone finish :math:`\sum_{i \le m} (t / h_i - 1)` or more
    (which is M at half of that time already). At least :math:`M / \sum_i 1/h_i`, as if nothing were left unfinished,
    and at least the fastest worker's time.

    References:
      Tyurin & Richtárik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
      Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023
    """
    h = np.sort(np.asarray(times, np.float64))
    m = np.arange(1, h.size + 1)
    rate = np.cumsum(1 / h)
    return Bounds(
        "collecting", float(max(batch_size / rate[-1], h[0])), float(np.min(2 * m / rate * (1 + batch_size / m)))
    )


def malenia_bounds(times: Float[np.ndarray, " workers"], batch_size: int) -> Bounds:
    r"""Bounds on Malenia's round.

    At most :math:`2 \left( h_n + \frac{1}{n} \sum_i h_i \cdot \frac{M}{n} \right)`, the form of the same paper: once t
    is above the slowest time, each :math:`M_i \ge t / (2 h_i)`, so the condition holds at
    :math:`\max(h_n, 2 \bar h M / n)` or before. At least :math:`\max(h_n, \bar h M / n)`, since every worker has to
    answer once and :math:`M_i \le t / h_i`.
    """
    h = np.asarray(times, np.float64)
    slowest, average = float(h.max()), float(h.mean()) * batch_size / h.size
    return Bounds("collecting", max(slowest, average), 2 * (slowest + average))


def synchronous_bounds(times: Float[np.ndarray, " workers"], batch_size: int) -> Bounds:
    """A barrier's round exactly: ceil(M/n) gradients of the slowest worker."""
    h = np.asarray(times, np.float64)
    exact = -(-batch_size // h.size) * float(h.max())
    return Bounds("collecting", exact, exact)


def m_synchronous_bounds(times: Float[np.ndarray, " workers"], batch_size: int) -> Bounds:
    """The round of the first m workers exactly: the m-th shortest time."""
    exact = float(np.sort(np.asarray(times, np.float64))[batch_size - 1])
    return Bounds("collecting", exact, exact)


def arrival_bounds(
    times: Float[np.ndarray, " workers"], exchange: Float[np.ndarray, " workers"], topology: str
) -> Bounds:
    r"""From one update to the next, on average, where every arrival is an update: at least 1/sum_i 1/(h_i + kappa_i).

    Worker i sends at most one gradient in h_i + kappa_i; and on a shared link no two exchanges are at the same time.
    """
    cycle = np.asarray(times, np.float64) + np.asarray(exchange, np.float64)
    least = 1 / float(np.sum(1 / cycle))
    return Bounds("round", max(least, float(np.min(exchange))) if topology == "shared-link" else least, None)


def ringleader_bounds(
    times: Float[np.ndarray, " workers"], exchange: Float[np.ndarray, " workers"], topology: str
) -> Bounds:
    r"""From one of Ringleader's updates to the next, on average: at least :math:`\max_i(h_i + \kappa_i) / n` as well.

    Every n updates need a gradient of the slowest worker that no others had. On links of their own workers make n
    updates in at most twice its time: once to complete the table, and once for the updates of all.
    """
    arrivals = arrival_bounds(times, exchange, topology).at_least
    cycle = np.asarray(times, np.float64) + np.asarray(exchange, np.float64)
    return Bounds("round", max(arrivals, float(cycle.max()) / cycle.size), None)
