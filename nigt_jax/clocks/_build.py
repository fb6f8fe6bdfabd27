"""From a configuration to a clock."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nigt_jax.clocks._clock import Clock
from nigt_jax.clocks._speed import Speed
from nigt_jax.clocks._work import RANDOM_WORK, FixedWork, Work, recorded_work
from nigt_jax.config import LONGEST_TIME, SHORTEST_TIME, PowerLaw, SpeedChanges, WorkersConfig, read_trace
from nigt_jax.errors import UserError

_WINDOW = 2**22  # times that are in memory at once


def make_clock(workers: WorkersConfig, parameters: int, batch_size: int, plays: int = 1) -> Clock:
    """The clock that a configuration describes.

    Args:
      workers: its section.
      parameters: number d of policy parameters, on which times may depend.
      batch_size: gradients of the largest round; decides how far a clock looks ahead at a time.
      plays: how many times as long as `workers` says a gradient takes, with a method that plays more for it.

    Returns:
      The clock.

    Raises:
      UserError: times that a float32 cannot hold; a trace that cannot be read.
    """
    ahead = min(max(4, math.ceil(2 * batch_size / workers.count)), 64)
    recorded = None if workers.trace is None else read_trace(workers.trace, workers.count)
    exchange = None if recorded is None else recorded.exchanges
    if exchange is None:
        exchange = power_law(workers.communication_time, workers.count, parameters)
    return Clock(
        work=_work(workers, parameters, plays)
        if recorded is None
        else recorded_work(plays * recorded.durations, recorded.lengths),
        speed=_speed(workers.speed, workers.count) if workers.speed.changes else None,
        exchange=jnp.asarray(exchange, jnp.float32),
        topology=workers.topology,
        carry_over=workers.carry_over,
        window=max(1, min(ahead, _WINDOW // workers.count)),
    )


def power_law(law: PowerLaw, workers: int, parameters: int) -> Float[np.ndarray, " workers"]:
    """The times that `law` gives to workers 1 to `workers`, for a policy of so many parameters; in time units."""
    if law.listed is not None:
        base = np.asarray(law.listed, np.float64)
    else:
        base = law.scale * np.arange(1, workers + 1, dtype=np.float64) ** law.worker_exponent
    times = base * float(parameters) ** law.parameter_exponent
    wrong = np.flatnonzero((base != 0) & ~((times >= SHORTEST_TIME) & (times <= LONGEST_TIME)))
    if wrong.size:
        raise UserError(
            f"workers: a law gives worker {wrong[0] + 1} a time of {times[wrong[0]]:g}, "
            f"allowed: {SHORTEST_TIME:g} to {LONGEST_TIME:g}"
        )
    return times.astype(np.float32)


def _work(workers: WorkersConfig, parameters: int, plays: int) -> Work:
    mean = jnp.asarray(plays * power_law(workers.compute_time, workers.count, parameters))
    if workers.noise.family == "none":
        return FixedWork(mean)
    return RANDOM_WORK[workers.noise.family](mean, jnp.asarray(workers.noise.shape, jnp.float32))


def _speed(speed: SpeedChanges, workers: int) -> Speed:
    """Pieces of constant speed from changes that may overlap: their factors multiply."""
    pieces = []
    for worker in range(1, workers + 1):
        mine = [c for c in speed.changes if c.workers is None or worker in c.workers]
        cuts = sorted({0.0, *(c.start for c in mine), *(c.end for c in mine if c.end is not None)})
        cuts = [t for t in cuts if speed.period is None or t < speed.period]
        factors = [math.prod(c.factor for c in mine if c.start <= t < (c.end or math.inf)) for t in cuts]
        pieces.append((cuts, factors))
    longest = max(len(cuts) for cuts, _ in pieces)
    # Rows are filled up with empty pieces at the end of time, or of the period.
    end = speed.period if speed.period is not None else np.finfo(np.float32).max
    fill = lambda row, value: [*row, *[value] * (longest - len(row))]
    return Speed(
        begin=jnp.asarray([fill(cuts, end) for cuts, _ in pieces], jnp.float32),
        value=jnp.asarray([fill(factors, factors[-1]) for _, factors in pieces], jnp.float32),
        period=jnp.asarray(speed.period or math.inf, jnp.float32),
    )
