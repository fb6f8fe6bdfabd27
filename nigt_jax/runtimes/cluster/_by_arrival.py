"""How the driver takes the workers' gradients one by one, whoever is lost meanwhile."""

import collections
import time
from typing import Any, cast

import jax.numpy as jnp

from nigt_jax.clocks import Fate
from nigt_jax.config import Config
from nigt_jax.methods import Arrivals
from nigt_jax.runtimes.cluster._members import Workers
from nigt_jax.runtimes.cluster._messages import Order, Report
from nigt_jax.runtimes.cluster._server import ClusterState, absorb, assignment_of, fault_of
from nigt_jax.runtimes.cluster._watch import Done, Watch
from nigt_jax.training import Hyperparameters, Parts


class ByArrival:
    """Takes the workers' gradients as they arrive, each at the query point that its worker was sent.

    Arguments are those of :class:`nigt_jax.runtimes.cluster._rounds.InRounds`.
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self.watch = Watch(config, crew, self._serve, self._lose, lambda worker: self._sent[worker][0] >= 0)
        self._sent = [(-1, 0)] * config.workers.count  # number of each worker's order, and updates made by then
        self._arrived: collections.deque[tuple[Report, float]] = collections.deque()  # and when they were heard
        self._rule = cast(Arrivals, parts.method.schedule).rule(hyperparameters.step)
        self._state: ClusterState | None = None
        self._orders = self._downloads = self._discarded = self._uploads = 0

    def one(self, state: ClusterState, step: Any) -> tuple[ClusterState, Done]:
        """One update."""
        resumed = self._state is not None and int(self._state.iteration[0]) != int(state.iteration[0])
        if self._state is None or resumed:
            self._orders = int(state.orders[0])
            self._at(state, step)
            for worker, member in enumerate(self._crew.members):
                if member.working:
                    self._serve(worker)
        while True:
            while not self._arrived:
                self._arrived.extend((report, time.monotonic()) for report in self.watch.hear())
            report, heard = self._arrived.popleft()
            worker, now = report.worker, int(state.iteration[0])
            order, at = self._sent[worker]
            if report.order != order:
                continue  # of a process that is gone
            self._uploads += 1
            fault = fault_of(report.unit, self._like)
            if fault is not None:
                self.watch.refuse(worker, fault)
                continue
            fate = self._fate(worker, at, now)
            if fate.absorbed:
                break
            self._discarded += 1
            self._crew.members[worker].discarded += 1
            self._serve(worker, heard)
        self._crew.members[worker].counted += 1
        after, norm = absorb(self._parts, state, step, report.unit, jnp.ones([]))
        self._at(after, step)
        self._serve(worker, heard)
        orders = jnp.full_like(state.orders, self._orders)
        done = Done(1, self._discarded, self._uploads, self._downloads, int(fate.delay), report.unit, float(norm))
        self._discarded = self._uploads = self._downloads = 0
        self._state = after._replace(orders=orders)
        return self._state, done

    def _fate(self, worker: int, at: int, now: int) -> Fate:
        """What becomes of a gradient of a worker that was sent its query point after `at` of `now` updates."""
        fate, _ = self._rule.take((), *(jnp.asarray(number, jnp.int32) for number in (worker, at, now)))
        return fate

    def _at(self, state: ClusterState, step: Any) -> None:
        self._state, self._assignment = state, assignment_of(self._parts, state, self._hyperparameters, step)

    def _serve(self, worker: int, since: float | None = None) -> None:
        if self._state is None:
            return
        order = Order(self._orders, most=1, delivers=True)
        self._orders += 1
        self._sent[worker] = (order.number, int(self._state.iteration[0]))
        self._assignment = self._crew.give([worker], order, self._assignment, since)
        self._downloads += 1

    def _lose(self, worker: int) -> None:
        self._discarded += self._sent[worker][0] >= 0  # without an order it has begun nothing
        self._sent[worker] = (-1, 0)
