"""The oracle of the clocks: a discrete-event simulation in Python's own arithmetic, one event after the other."""

from fractions import Fraction

import simpy

RULES = {
    "rennala": lambda counts, m: sum(counts) >= m,
    "malenia": lambda counts, m: all(counts) and sum(Fraction(1, c) for c in counts) <= Fraction(len(counts) ** 2, m),
    "synchronous": lambda counts, m: min(counts) >= -(-m // len(counts)),
    "m_synchronous": lambda counts, m: sum(c > 0 for c in counts) >= m,
}


class Simulation:
    """Workers that start again as soon as they are done, and a server that ends a round when its rule says so.

    Args:
      finish: finish[i](k, t) is when worker i has finished its k-th gradient since the start, begun at time t.
      rule: a key of RULES.
      batch_size: its M.
      carry_over: whether workers first finish what they are doing when a round ends.
      exchange: counts to the time of a round's communication.
    """

    def __init__(self, finish, rule, batch_size, carry_over=False, exchange=lambda counts: 0):
        self.env = simpy.Environment()
        self.finish, self.enough, self.batch_size = finish, RULES[rule], batch_size
        self.carry_over, self.exchange = carry_over, exchange
        n = len(finish)
        self.share = {"synchronous": -(-batch_size // n), "m_synchronous": 1}.get(rule, 10**9)
        self.begun, self.busy_until, self.number = [0] * n, [0] * n, 0

    def _work(self, i, number):
        if self.busy_until[i] > self.env.now:
            yield self.env.timeout(self.busy_until[i] - self.env.now)
        if number != self.number:
            return
        self.at_work[i] = self.env.now
        self.busy_until[i] = self.finish[i](self.begun[i], self.env.now)
        self.begun[i] += 1
        yield self.env.timeout(self.busy_until[i] - self.env.now)
        if number == self.number:
            del self.at_work[i]
            self.arrived.append(i)

    def round(self):
        """One round: counts, time from its start to its end, gradients begun but not counted."""
        n, began = len(self.finish), self.env.now
        self.at_work, self.arrived, counts, lost = {}, [], [0] * n, []
        for i in range(n):
            self.env.process(self._work(i, self.number))
        over = False
        while not over:
            now = self.env.peek()
            while self.env.peek() == now:  # all that happens at once
                self.env.step()
            for i in sorted(self.arrived):
                if over:
                    lost.append(i)
                    continue
                counts[i] += 1
                over = self.enough(counts, self.batch_size)
                if not over and counts[i] < self.share:
                    self.env.process(self._work(i, self.number))
            self.arrived = []
        return counts, self.env.now - began, self._end(counts, lost)

    def _end(self, counts, lost):
        end = self.env.now
        for i, since in list(self.at_work.items()):
            if since == end:  # begun in the last instant is not begun
                self.begun[i] -= 1
                self.busy_until[i] = end
                del self.at_work[i]
        discarded = [int(i in self.at_work or i in lost) for i in range(len(counts))]
        self.number += 1
        if not self.carry_over:
            self.busy_until = [0] * len(counts)
        pause = self.exchange(counts)
        if pause:
            self.env.run(until=end + pause)
        return discarded
