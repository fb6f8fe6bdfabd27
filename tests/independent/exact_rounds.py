"""Rounds in exact rationals, one event after the other, from the rules as the specification words them.

Times are fractions. Where the package computes with float32, the fraction is that of the very float32 number.
"""

import dataclasses
import math
from fractions import Fraction

import numpy as np

NEVER = math.inf


def exact(value):
    """A number, or nested lists of them, as the float32 that the package sees; exactly."""
    return _fractions(np.asarray(value, np.float32).tolist())


def _fractions(value):
    if isinstance(value, list):
        return [_fractions(x) for x in value]
    return Fraction(value) if math.isfinite(value) else value


class Counting:
    """What a server knows in a round: how many gradients of each worker it has counted.

    Attributes:
      counts: of each worker.
      share: gradients after which a worker waits.
    """

    def __init__(self, rule, batch_size, workers):
        self.counts, self.share = [0] * workers, math.inf
        self._rule, self._need, self._inverses = rule, batch_size, Fraction(0)
        if rule == "synchronous":
            self.share = -(-batch_size // workers)
        if rule == "m_synchronous":
            self.share = 1

    def add(self, worker):
        """Counts one gradient and says whether the round is over."""
        self.counts[worker] += 1
        count = self.counts[worker]
        self._inverses += Fraction(1, count) - (Fraction(1, count - 1) if count > 1 else 0)
        return self._over()

    def hopeless(self, silent):
        """Whether the round never ends if these workers deliver nothing more, and all others for ever."""
        n, stuck = len(self.counts), [self.counts[i] for i in silent]
        if self._rule == "malenia":
            if len(silent) == n:
                return True
            return 0 in stuck or (bool(stuck) and sum(Fraction(1, c) for c in stuck) >= self._bound())
        if self._rule == "synchronous":
            return any(c < self.share for c in stuck)
        if self._rule == "m_synchronous":
            return n - sum(c == 0 for c in stuck) < self._need
        return len(silent) == n

    def _over(self):
        if self._rule == "malenia":
            return all(self.counts) and self._inverses <= self._bound()
        if self._rule == "synchronous":
            return min(self.counts) >= self.share
        return sum(self.counts) >= self._need

    def _bound(self):
        return Fraction(len(self.counts) ** 2, self._need)


@dataclasses.dataclass
class Played:
    """A round.

    Attributes:
      counts: gradients counted of each worker.
      end: when it ended, on the clock that `begin` was on.
      discarded: gradients begun but not counted, 0 or 1 each.
      busy: when each worker has finished what it is doing; `end` where it does nothing.
      number: gradients that each worker has begun since the start of the run.
    """

    counts: list
    end: Fraction
    discarded: list
    busy: list
    number: list


def play_round(rule, batch_size, finish, begin, free, number):
    """One round.

    Args:
      rule: rennala, malenia, synchronous or m_synchronous.
      batch_size: its M.
      finish: (worker, number of the gradient since the start of the run, time it is begun) to the time it is done.
      begin: of the round.
      free: when each worker is done with what it was doing before.
      number: of gradients that each has begun before.

    Returns:
      The round; None where it never ends.
    """
    n = len(free)
    server = Counting(rule, batch_size, n)
    began = [max(begin, t) for t in free]
    due = [finish(i, number[i], began[i]) for i in range(n)]
    waits = lambda i: server.counts[i] >= server.share
    while True:
        if server.hopeless([i for i in range(n) if due[i] == NEVER and not waits(i)]):
            return None
        now = min(due)
        for i in [i for i in range(n) if due[i] == now]:
            over = server.add(i)
            began[i] = now
            due[i] = NEVER if waits(i) else finish(i, number[i] + server.counts[i], now)
            if over:
                lost = [int(began[k] < now and not waits(k)) for k in range(n)]
                busy = [due[k] if lost[k] else max(now, began[k]) for k in range(n)]
                after = [number[k] + server.counts[k] + lost[k] for k in range(n)]
                return Played(server.counts, now, lost, busy, after)


def play(rounds, rule, batch_sizes, finish, exchange, topology="parallel-links", carry_over=False, begin=Fraction(0)):
    """Rounds one after the other, up to the first that never ends: (Played, when it began, when the next one begins).

    Args:
      rounds: how many.
      rule: as above.
      batch_sizes: of the first round, and of all others.
      finish: as above.
      exchange: the time of each worker's exchange.
      topology: what a round's communication costs.
      carry_over: whether a worker finishes what it does when a round ends before it begins anew.
      begin: of the first round.
    """
    n = len(exchange)
    number, free = [0] * n, [begin] * n
    for k in range(rounds):
        played = play_round(rule, batch_sizes[min(k, 1)], finish, begin, free, number)
        if played is None:
            return
        contributes = [x for x, c in zip(exchange, played.counts, strict=True) if c]
        after = played.end + (sum(contributes) if topology == "shared-link" else max(exchange))
        yield played, begin, after
        begin = after
        number, free = played.number, played.busy if carry_over else [begin] * n


def of_durations(rule, batch_size, durations):
    """The round of a table of consecutive durations, [workers][k]; None where it does not decide the round."""
    ran_out = []  # when a worker began a gradient that is not in the table

    def finish(worker, number, begin):
        if number < len(durations[worker]):
            return begin + durations[worker][number]
        ran_out.append(begin)
        return NEVER

    n = len(durations)
    played = play_round(rule, batch_size, finish, Fraction(0), [Fraction(0)] * n, [0] * n)
    if played is None or any(begin < played.end for begin in ran_out):
        return None
    return played
