"""How many messages a node has to keep, on the host."""

import math

import numpy as np
from jaxtyping import Float

from nigt_jax.clocks import Clock
from nigt_jax.config import WorkersConfig
from nigt_jax.config.systems import AsyncEvaluationConfig
from nigt_jax.errors import UserError

_MOST_BYTES = 2**31


def sends_to_keep(
    config: AsyncEvaluationConfig, clock: Clock, delays: Float[np.ndarray, " nodes"], numbers: int
) -> int:
    """How many messages a node keeps: as set, or so many that the newest that has arrived is among them.

    That is exact where times are fixed, recorded or Pareto. Else it is the mean and eight standard deviations of how
    many a node sends while one is under way, and a few more: independent times that a run would hardly exceed.

    Args:
      config: the configuration.
      clock: of its wake-ups.
      delays: how long messages of each node are under way.
      numbers: in a point.

    Raises:
      UserError: that is more than memory holds.
    """
    kept = config.method.kept_sends or math.ceil(_under_way(config.workers, clock, delays)) + 2
    if 16.0 * config.workers.count * kept * numbers > _MOST_BYTES:
        raise UserError(
            f"method.kept_sends: {kept:,} messages that each of {config.workers.count} nodes keeps, of {2 * numbers} "
            f"numbers, take more than {_MOST_BYTES / 2**30:.0f} GiB; a shorter workers.communication_time needs fewer"
        )
    return kept


def _under_way(workers: WorkersConfig, clock: Clock, delays: Float[np.ndarray, " nodes"]) -> float:
    """How many messages of a node are under way at once, at most."""
    fastest = math.prod(max(1.0, change.factor) for change in workers.speed.changes)
    there = np.where(delays > 0, delays * fastest / _shortest_times(workers, clock), 0.0)
    return float(np.max(np.where(there > 0, there + _spread(workers) * (8 * np.sqrt(there) + 16), 0.0)))


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
