"""Asynchronous push-pull in NumPy float64, after the algorithm and by an event queue with messages in it."""

import heapq

import numpy as np


def make_problem(rng, samples, features, discount=0.8):
    """Random transitions: features, features less discounted next ones, rewards."""
    now, after = rng.normal(size=(2, samples, features))
    return now, now - discount * after, rng.uniform(size=samples)


def field(problem, p, z, rho, beta):
    """F_p(z)."""
    phi, psi, reward = problem[0][p], problem[1][p], problem[2][p]
    theta, w = np.split(z, 2)
    error = psi @ theta + phi @ w - reward
    return np.concatenate([rho * theta - psi * (phi @ w), beta * phi * error])


def saddle(problem, rho):
    """[theta, w] by the formulas for either of them."""
    phi, psi, reward = problem
    m = len(reward)
    a, c, b = phi.T @ psi / m, phi.T @ phi / m, phi.T @ reward / m
    inverse = np.linalg.inv(c)
    theta = np.linalg.solve(a.T @ inverse @ a + rho * np.eye(len(c)), a.T @ inverse @ b)
    return np.concatenate([theta, inverse @ (b - a @ theta)])


def even_weights(links):
    """R and C; links[i, j] says that i hears j."""
    n = len(links)
    with_self = links | np.eye(n, dtype=bool)
    return with_self / with_self.sum(1)[:, None], with_self / with_self.sum(0)[None, :]


class Queue:
    """Nodes with a queue of events: wake-ups, and arrivals of messages that carry a point and a share of a tracker.

    Args:
      problem: see make_problem.
      links: who hears whom.
      delays: of each node's messages.
      step, rho, beta: of the algorithm.
      full: a node's whole gradient at every wake-up, not one sample's.
      overwrites: a WRONG receiver, which forgets what it has not read when more arrives.
    """

    def __init__(self, problem, links, delays, step, rho=0.1, beta=1.0, full=False, overwrites=False):
        self.problem, self.step, self.rho, self.beta, self.full = problem, step, rho, beta, full
        self.links, self.delays, self.overwrites = links, delays, overwrites
        n, m, d = len(links), len(problem[2]), 2 * problem[0].shape[1]
        self.samples = np.array_split(np.arange(m), n)
        self.scale = n / m
        self.r, self.c = even_weights(links)
        self.x = np.zeros((n, d))
        self.table = [np.array([self.f(p, self.x[i]) for p in mine]) for i, mine in enumerate(self.samples)]
        self.gradient = np.array([self.scale * rows.sum(0) for rows in self.table])
        self.visits = [0] * n
        self.known = {(i, j): np.zeros(d) for i, j in zip(*np.nonzero(links), strict=True)}
        self.unread = {link: np.zeros(d) for link in self.known}
        self.in_flight, self.serial = [], 0
        self.sent = dict.fromkeys(self.known, 0.0)
        self.ahead, self.share = self.x.copy(), np.zeros((n, d))
        for i in range(n):
            self._send(i, 0.0, self.gradient[i])

    def f(self, p, z):
        return field(self.problem, p, z, self.rho, self.beta)

    def _send(self, i, now, y):
        self.ahead[i] = self.x[i] - self.step * y
        self.share[i] = self.c[i, i] * y
        for j in np.flatnonzero(self.links[:, i]):
            self.serial += 1
            event = (now + self.delays[i], self.serial, (j, i), self.ahead[i].copy(), self.c[j, i] * y, now)
            heapq.heappush(self.in_flight, event)

    def wake(self, i, now):
        """Returns the age of the oldest message that is used, from the start on."""
        while self.in_flight and self.in_flight[0][0] <= now:
            _, _, link, point, mass, self.sent[link] = heapq.heappop(self.in_flight)
            self.known[link] = point
            self.unread[link] = mass if self.overwrites else self.unread[link] + mass
        heard = [(i, j) for j in np.flatnonzero(self.links[i])]
        self.x[i] = self.r[i, i] * self.ahead[i] + sum(self.r[link] * self.known[link] for link in heard)
        if self.full:
            change = self.scale * sum(self.f(p, self.x[i]) for p in self.samples[i]) - self.gradient[i]
        else:
            k = self.visits[i] % len(self.samples[i])
            new = self.f(self.samples[i][k], self.x[i])
            change = self.scale * (new - self.table[i][k])
            self.table[i][k] = new
            self.visits[i] += 1
        self.gradient[i] += change
        y = self.share[i] + change
        for link in heard:
            y = y + self.unread[link]
            self.unread[link] = np.zeros_like(y)
        self._send(i, now, y)
        return max((now - self.sent[link] for link in heard), default=0.0)

    @property
    def mass_error(self):
        mass = self.share.sum(0) + sum(self.unread.values()) + sum(event[4] for event in self.in_flight)
        return np.abs(mass - self.gradient.sum(0)).max()


def finish(now, work, outages):
    """When work that is begun is done by a node that stands still in some intervals, in their order."""
    for start, end in outages:
        if now + work <= start:
            break
        if now < end:
            work, now = work - max(0.0, start - now), end
    return now + work


def play(queue, times, wake_ups, outages=()):
    """Wakes nodes by their own event queue; returns who woke up when, and the age of the oldest message used.

    Args:
      queue: nodes at time 0.
      times: how long each node takes from a wake-up to the next, in a row.
      wake_ups: how many at most, of all nodes together.
      outages: of each node, intervals.
    """
    outages = outages or [()] * len(times)
    following = [iter(row) for row in times]
    events = [(finish(0.0, next(row), outages[i]), i) for i, row in enumerate(following)]
    heapq.heapify(events)
    woken = []
    for _ in range(wake_ups):
        now, i = heapq.heappop(events)
        if now == np.inf:
            break
        woken.append((i, now, queue.wake(i, now)))
        heapq.heappush(events, (finish(now, next(following[i]), outages[i]), i))
    return woken
