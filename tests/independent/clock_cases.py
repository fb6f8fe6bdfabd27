"""Workers of every kind, twice: the package's configuration, and the oracle's answer when a gradient is done.

The oracle's answer is a function (worker, number of the gradient since the start of the run, time it is begun).
"""

import csv

import jax
import jax.numpy as jnp
from compiled_rounds import begin_many, stacked_clocks, workers_of
from exact_rounds import exact
from exact_speed import Speed

from nigt_jax.config import SpeedChange, SpeedChanges

TIMES = [1.0, 0.5, 2.0, 1.25]
LENGTHS = [7, 3, 5, 7]  # of recordings; equal in all cases, which have to be of one shape to share a program
PIECES = 8  # of the first worker's speed, for the same reason
MOST = 300  # gradients that no worker of these cases ever exceeds


def in_order(table):
    """Each gradient takes what stands in its worker's row, which begins again at its end."""
    return lambda i, number, begin: begin + table[i][number % len(table[i])]


def recorded(rng, path, exchange, **others):
    """Recorded times: multiples of a quarter, with many ties, or times without any."""
    quarters = rng.integers(3)
    rows = [rng.integers(1, 9, k) / 4 if quarters else rng.lognormal(0, 1, k).astype("float32") for k in LENGTHS]
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["worker", "duration"])
        lines.writerows([i + 1, repr(float(x))] for i, row in enumerate(rows) for x in row)
    return workers_of(TIMES, exchange, trace=str(path), **others), in_order([exact(row) for row in rows])


def drawn(workers):
    """The oracle's answers for random times of so many cases, from the package's own draws; the seeds are 0, 1, ..."""
    clock = stacked_clocks(workers)
    number = jnp.broadcast_to(jnp.arange(MOST, dtype=jnp.int32), (len(TIMES), MOST))
    draw = lambda own, state: own.work.amounts(state.key, number)
    amounts = jax.jit(jax.vmap(draw))(clock, begin_many(clock, range(len(workers))))
    return [in_order(exact(own)) for own in jax.device_get(amounts)]


def changing(times, changes, period, exchange, **others):
    """Speeds that change; changes are (workers or None, start, end or None, factor)."""
    of = lambda worker: Speed([(a, b, f) for who, a, b, f in changes if who is None or worker in who], period)
    for k in range(PIECES):
        if len(of(1).pieces) < PIECES:  # a change that changes nothing
            changes = [*changes, ((1,), k + 1 / 32, period, 1.0)]
    fields = [{"workers": who, "start": a, "end": b, "factor": f} for who, a, b, f in changes]
    speed = SpeedChanges(period=period, changes=tuple(SpeedChange(**own) for own in fields))
    speeds, work = [of(i + 1) for i in range(len(times))], exact(times)
    finish = lambda i, number, begin: speeds[i].finish(begin, work[i])
    return workers_of(times, exchange, speed=speed, **others), finish


def changing_at_random(rng, exchange, **others):
    """Outages, slow and fast times, some of which overlap; some repeat, and some never end."""
    period, changes = [None, 8.0, 16.0][rng.integers(3)], []
    for k in range(3):
        start, length = rng.integers(0, 8) / 2, rng.integers(1, 5) / 2
        ends = period is not None or k > 0 or rng.integers(4) > 0
        who = None if rng.integers(4) == 0 else tuple(int(x) + 1 for x in rng.choice(4, 2, replace=False))
        changes.append((who, start, start + length if ends else None, float(rng.choice([0.0, 0.5, 2.0]))))
    return changing(TIMES, changes, period, exchange, **others)
