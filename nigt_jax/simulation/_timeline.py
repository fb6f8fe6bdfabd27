"""What every worker does when, in the first rounds of a method: the numbers behind the picture."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from nigt_jax.clocks import (
    NO_END,
    ArrivalRule,
    Clock,
    ClockState,
    Round,
    Rule,
    finishing_times,
    make_clock,
    never_ends,
    to_float64,
)
from nigt_jax.config import Config
from nigt_jax.methods import METHODS
from nigt_jax.simulation._arrivals import play_arrivals
from nigt_jax.simulation._compare import MOST_WORKERS, in_rounds, kinds, schedules
from nigt_jax.simulation._play import Schedules, begin, play_one
from nigt_jax.simulation._sized import sized

ACTIVITIES = ("counted", "under way", "discarded", "waiting", "communicating", "silent")
_MOST_SHOWN = 30  # workers
_MOST_TIMES = 2**24  # of gradients, in memory at once
_MOST_BARS = 200  # of a worker in a round; more of them would not be told apart


class Bar(NamedTuple):
    """One thing that a worker does.

    Attributes:
      worker: its number, from 0.
      activity: one of ACTIVITIES; "counted" and "discarded" are the computing of a gradient that is, "under way" of one
        whose fate lies after the end, and "silent" of one that a round waits for in vain.
      start, end: its times, in simulated time.
    """

    worker: int
    activity: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """The beginning of a run.

    Attributes:
      method: whose.
      batch_size: its M; 1 where every arrival is an update.
      workers: how many there are.
      shown: those that are drawn, from 0, ascending.
      bars: what these do, in order of time for each.
      counted: gradients of each in this time.
      total: gradients counted of all workers.
      round_ends: when each round's exchange was over, as far as they ended; empty where there are no rounds.
      end: end of what is drawn, in simulated time.
      note: what else a person has to know; may be empty.
    """

    method: str
    batch_size: int
    workers: int
    shown: Int[np.ndarray, " shown"]
    bars: tuple[Bar, ...]
    counted: Int[np.ndarray, " shown"]
    total: int
    round_ends: tuple[float, ...]
    end: float
    note: str

    def share(self, activity: str) -> float:
        """Part of the time of the workers shown that goes into it."""
        spent = sum(bar.end - bar.start for bar in self.bars if bar.activity == activity)
        return spent / (self.end * self.shown.size)


def make_timeline(config: Config, *, parameters: int = 1, rounds: int = 3) -> Timeline | None:
    """The first rounds of the configuration's method; of one without rounds, three gradients a worker on average.

    Args:
      config: the configuration, with its method, workers and seed.
      parameters: number of policy parameters, where times depend on it.
      rounds: number of rounds at most: it ends with one that never does.

    Returns:
      The timeline; None where there are more gradients than can be looked at one by one.
    """
    every = kinds()
    kind = next(kind for kind in every if kind.name == config.method.clock)
    wanted = in_rounds(config).batch_size
    size = kind.batch_size(wanted, config.workers.count)
    plays = METHODS[config.method.name].plays
    clock = make_clock(config.workers, parameters, wanted, plays)  # as in `compare`: the same programs
    shown = np.unique(np.linspace(0, clock.workers - 1, _MOST_SHOWN).round().astype(int))
    state = begin(clock, np.uint32(config.seed))
    if kind.rounds is not None:
        several = schedules(every)
        parts = _rounds(clock, several, several.index(kind.rounds), size, shown, rounds, state)
    elif clock.workers > MOST_WORKERS:
        parts = None
    else:
        parts = _arrivals(clock, kind.arrival_rule(config), shown, state.key)
    if parts is None:
        return None
    return Timeline(method=config.method.name, batch_size=size, workers=clock.workers, shown=shown, **parts)


def _rounds(
    clock: Clock,
    schedules: Schedules,
    which: int,
    batch_size: int,
    shown: Int[np.ndarray, " shown"],
    rounds: int,
    state: ClockState,
) -> dict[str, Any] | None:
    rule = schedules[which].rule(jnp.int32(batch_size), clock.workers)
    bars: list[Bar] = []
    ends, note = [], ""
    counted, total = np.zeros(shown.size, np.int64), 0
    for number in range(1, rounds + 1):
        round, communicating, after = play_one(clock, schedules, which, batch_size, state)
        least = int(round.counts.max()) + 1 if round.complete else clock.window
        window = 1 << (least - 1).bit_length()  # of few sizes, since each is another program
        if window * clock.workers > _MOST_TIMES:
            return None
        times = to_float64(_times_of(clock, state, np.zeros(clock.workers, np.int32), state.start, window))
        never: tuple[int, ...] = ()
        if not round.complete:
            endless, round = never_ends(clock, rule, state, number), _cut(rule, times)
            never, note = endless.waits_for, str(endless)
        one = _RoundBars(clock, round, communicating, times, to_float64(state.start), to_float64(after.start), never)
        now = float(to_float64(state.now))
        for i in map(int, shown):
            bars += [Bar(i, what, now + a, now + b) for what, a, b in one.of(i) if b > a]
        counted, total = counted + round.counts[shown], total + int(round.counts.sum(dtype=np.int64))
        state = after
        if not round.complete:
            break
        ends.append(float(to_float64(state.now)))
    end = ends[-1] if not note else now + float(round.elapsed)
    return {
        "bars": tuple(bars),
        "counted": counted,
        "total": total,
        "round_ends": tuple(ends),
        "end": end,
        "note": note,
    }


_times_of = sized("window")(finishing_times)


def _cut(rule: Rule, times: Float[np.ndarray, "workers k"]) -> Any:
    """A round that never ends, up to a little after those who answer have done their part."""
    share = int(rule.limit(jnp.int32(NO_END)))
    goes_on = share == NO_END
    part = 1 if goes_on else min(share, times.shape[1])
    answers = times[np.isfinite(times[:, part - 1]), part - 1]
    latest = 1.3 * answers.max() if answers.size else 1.0
    known = times[:, -1][np.isfinite(times[:, -1])]  # beyond the last gradient looked at nothing is known
    end = min(latest, known.min()) if goes_on and known.size else latest
    counts = np.minimum((times <= end).sum(axis=1), share)
    busy = counts < share
    return Round(*(np.asarray(x) for x in (counts, end, busy.astype(int), False)))  # type: ignore[arg-type]


class _RoundBars:
    """The bars of one round, in time from its beginning."""

    def __init__(
        self,
        clock: Clock,
        round: Round,
        communicating: float,
        times: np.ndarray,
        start: np.ndarray,
        left: np.ndarray,
        silent: tuple[int, ...],
    ):
        self._silent = silent
        self._round, self._times, self._start, self._left = round, times, start, left
        self._end, self._carry_over = float(round.elapsed), clock.carry_over
        self._exchange = communicating
        own = np.asarray(clock.exchange, np.float64)
        if clock.topology == "shared-link":  # one after the other; the order is that of their numbers
            own = np.where(np.asarray(round.counts) > 0, own, 0)
            self._sends = np.cumsum(own) - own, np.cumsum(own)
        else:
            self._sends = np.zeros_like(own), np.full_like(own, own.max()) if clock.topology == "allreduce" else own

    def of(self, i: int) -> Iterator[tuple[str, float, float]]:
        """What worker `i` does, in order: (activity, start, end)."""
        count, begin = int(self._round.counts[i]), min(float(self._start[i]), self._end)
        yield "discarded", 0.0, begin  # of an earlier round
        edges = [begin, *self._times[i, :count]]
        edges = edges if count <= _MOST_BARS else [edges[0], edges[-1]]
        for a, b in itertools.pairwise(edges):
            yield "counted", float(a), float(b)
        busy = bool(self._round.discarded[i]) or begin == self._end
        if not self._round.complete:
            yield "silent" if i + 1 in self._silent else "under way" if busy else "waiting", float(edges[-1]), self._end
        else:
            yield "discarded" if busy else "waiting", float(edges[-1]), self._end
            yield from self._afterwards(i, busy)

    def _afterwards(self, i: int, busy: bool) -> Iterator[tuple[str, float, float]]:
        """During the exchange."""
        first, last = (self._end + float(x[i]) for x in self._sends)
        over, at = self._end + self._exchange, self._end
        if busy and self._carry_over:  # what the processor does is shown, not what its link does meanwhile
            never_began = float(self._start[i]) >= self._end
            until = self._start[i] if never_began else self._times[i, int(self._round.counts[i])]
            at = over if self._left[i] > 0 else min(float(until), over)
            yield "discarded", self._end, at
        yield "waiting", at, first
        yield "communicating", max(at, first), last
        yield "waiting", max(at, last), over


def _arrivals(clock: Clock, rule: ArrivalRule, shown: np.ndarray, key: Any) -> dict[str, Any]:
    played = play_arrivals(clock, rule, min(3 * clock.workers, 1000), key)
    end = float(played.time[-1]) if played.time.size else 1.0
    bars = []
    for i in shown:
        mine = played.worker == i
        began = 0.0
        for ready, sending, time, good in zip(*(x[mine] for x in played[1:5]), strict=True):
            bars.append(Bar(int(i), "counted" if good else "discarded", began, float(ready)))
            bars.append(Bar(int(i), "waiting", float(ready), float(sending)))
            bars.append(Bar(int(i), "communicating", float(sending), float(time)))
            began = float(time)
        bars.append(Bar(int(i), "under way", began, end))
    counted = np.bincount(played.worker[played.counted], minlength=clock.workers)
    return {
        "bars": tuple(bar for bar in bars if bar.end > bar.start),
        "counted": counted[shown],
        "total": int(counted.sum()),
        "round_ends": (),
        "end": end,
        "note": "" if played.time.size else "no worker answers",
    }
