"""How many messages a node has to keep, on the host."""

import math

import numpy as np
from jaxtyping import Float

from nigt_jax.clocks import Clock
from nigt_jax.config import WorkersConfig
from nigt_jax.errors import UserError

_MOST_BYTES = 2**31


def sends_to_keep(workers: WorkersConfig, clock: Clock, delays: Float[np.ndarray, " nodes"], numbers: int) -> int:
    """How many messages a node has to keep so that the newest that has arrived is among them.

    That is exact where times are fixed, recorded or Pareto. Else it is the mean and eight standard deviations of how
    many a node sends while one is under way, and a few more: independent times that a run would hardly exceed.

    Args:
      workers: their section of the configuration.
      clock: made of it.
      delays: how long messages of each node are under way.
      numbers: in a point.

    Raises:
      UserError: that is more than memory holds.
    """
    fastest = math.prod(max(1.0, change.factor) for change in workers.speed.changes)
    there = np.where(delays > 0, delays * fastest / _shortest_times(workers, clock), 0.0)
    spread = _spread(workers)
    under_way = float(np.max(np.where(there > 0, there + spread * (8 * np.sqrt(there) + 16), 0.0)))
    if 16.0 * workers.count * (under_way + 2) * numbers > _MOST_BYTES:
        raise UserError(
            f"workers.communication_time: a node sends about {under_way:,.0f} messages while one is under way, too "
            f"many to keep for {workers.count} nodes and {numbers} numbers; allowed: {_MOST_BYTES / 2**30:.0f} GiB"
        )
    return math.ceil(under_way) + 2


def _shortest_times(workers: WorkersConfig, clock: Clock) -> Float[np.ndarray, " nodes"]:
    """The shortest time from a wake-up to the next of each node at full speed; the mean where there is no shortest."""
    if workers.trace is not None:
        return np.minimum.reduceat(np.asarray(clock.work.times, np.float64), np.asarray(clock.work.first))
    mean = np.asarray(clock.work.mean, np.float64)
    return mean * (1 - 1 / workers.noise.shape) if workers.noise.family == "pareto" else mean


def _spread(workers: WorkersConfig) -> float:
    """The standard deviation of a time relative to its mean; 0 where the shortest time is known."""
    shape = workers.noise.shape
    of_family = {"exponential": 1.0, "gamma": shape**-0.5, "lognormal": math.sqrt(math.expm1(min(shape**2, 500.0)))}
    return of_family.get(workers.noise.family, 0.0)
