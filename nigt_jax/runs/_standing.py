"""How far a run is, by every unit; when it is done, what is due by then, and where it has to stop next."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from nigt_jax.config import Amount, Config, SystemConfig, amount_of
from nigt_jax.records import Record

# Times are float32, so sums of them fall short by as much as rounding: a time that is missed by a millionth is reached.
_EARLY = 1 - 2.0**-20


class Amounts(NamedTuple):
    """What a run has used since its start, by the units of :data:`nigt_jax.config.UNITS`."""

    iterations: int
    gradients: int
    env_steps: int
    simulated_time: float

    @classmethod
    def of(cls, record: Record) -> "Amounts":
        """Those that a record tells."""
        return cls(record["iteration"], record["gradients"], record["env_steps"], record["simulated_time"])


class Standing(NamedTuple):
    """How far a run is.

    Attributes:
      amounts: what it has used.
      totals: its counters, a dataclass.
      failed: why it cannot go on; None where it can.
    """

    amounts: Amounts
    totals: Any
    failed: str | None = None


class NextStop(NamedTuple):
    """Where a run stops next: after so many rounds more, or at the first round that reaches one of the totals."""

    rounds: int
    gradients: float
    env_steps: float
    simulated_time: float


REST = NextStop(0, math.inf, math.inf, math.inf)


def fraction_done(config: Config | SystemConfig, now: Amounts) -> float:
    """The part of the run that is done, by the limit that is nearest; 1 where it is over."""
    return min(1.0, max(getattr(now, end.unit) / _size(end) for end in config.training.ends))


def is_done(config: Config | SystemConfig, now: Amounts) -> bool:
    """Whether it has reached an end."""
    return any(getattr(now, end.unit) >= _size(end) for end in config.training.ends)


def passed(every: int | str, before: Amounts, after: Amounts) -> bool:
    """Whether a multiple of an interval lies in the rounds between."""
    interval = amount_of(every)
    marks = lambda amounts: math.floor(getattr(amounts, interval.unit) / _size(interval))
    return marks(after) > marks(before)


def next_stop(config: Config | SystemConfig, now: Amounts) -> NextStop:
    """Where rounds have to be looked at: at the end, at what is due, and where a chunk ends.

    Chunks end where they would have without an interruption, so that a resumed run is the same run.
    """
    intervals = [amount_of(given) for given in (config.evaluation.every, config.checkpoint.every)]
    chunk = Amount(config.training.chunk, "iterations")
    goals: dict[str, float] = dict.fromkeys(Amounts._fields, math.inf)
    marks = [(interval.unit, _next_mark(interval, now)) for interval in (*intervals, chunk)]
    for unit, mark in [*marks, *((end.unit, _size(end)) for end in config.training.ends)]:
        goals[unit] = min(goals[unit], mark)
    rounds = int(goals.pop("iterations")) - now.iterations
    return NextStop(max(1, rounds), **goals)


def lists_of(stops: Iterable[NextStop]) -> dict[str, list[Any]]:
    """Totals of many runs as lists; a whole number for what is counted, as large as can be where there is no limit."""
    stops = list(stops)
    whole = lambda number: 2**52 if math.isinf(number) else math.ceil(number)
    return {
        "gradients": [whole(stop.gradients) for stop in stops],
        "env_steps": [whole(stop.env_steps) for stop in stops],
        "simulated_time": [stop.simulated_time for stop in stops],
    }


def _next_mark(interval: Amount, now: Amounts) -> float:
    return (math.floor(getattr(now, interval.unit) / _size(interval)) + 1) * _size(interval)


def _size(amount: Amount) -> float:
    return amount.number * (_EARLY if amount.unit == "simulated_time" else 1.0)
