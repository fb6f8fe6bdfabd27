"""How the driver leads the workers through rounds, whoever is lost meanwhile."""

import dataclasses
import functools
import time
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import Round
from nigt_jax.config import Config
from nigt_jax.methods import Rounds, StepHyperparameters
from nigt_jax.runtimes.cluster._members import Workers, settings_of
from nigt_jax.runtimes.cluster._messages import Order
from nigt_jax.runtimes.cluster._server import ClusterState, absorb, assignment_of, fault_of
from nigt_jax.runtimes.cluster._tally import Tally
from nigt_jax.runtimes.cluster._watch import Done, Patience, Watch
from nigt_jax.training import Hyperparameters, Parts, Unit, add_units


@dataclasses.dataclass
class _Now:
    """The round under way.

    Attributes:
      batch: M of this round.
      taking_part: numbers of the workers that its rule is about; others join in the next one.
      rule: when it is over.
      tally: its account.
      assignment: what workers compute with, as Ray keeps it.
      downloads: messages to workers.
      uploads: sums of workers that have come in.
      discarded: gradients of rounds before, which could not be brought to an end.
    """

    batch: int
    taking_part: np.ndarray
    rule: Any
    tally: Tally
    assignment: Any
    downloads: int = 0
    uploads: int = 0
    discarded: int = 0


class InRounds:
    """Leads the workers through rounds.

    Args:
      config: the run's configuration.
      parts: the run's parts; their method has rounds.
      hyperparameters: the run's.
      crew: the workers.
      like: a unit of ShapeDtypeStructs.

    Attributes:
      watch: hears the workers, and has as many as there should be.
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._settings, self._number = settings_of(config), config.workers.count
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self._schedule = cast(Rounds, parts.method.schedule)
        self.watch = Watch(config, crew, self._serve, self._lose, self._is_busy)
        self._orders = 0
        self._over_since: float | None = None  # when the driver knew that the last round was over
        self._patience = Patience(self._settings.patience)
        self._now: _Now | None = None

    def one(self, state: ClusterState, step: StepHyperparameters) -> tuple[ClusterState, Done]:
        """One round."""
        self._orders = max(self._orders, int(state.orders[0]))
        now = self._now = self._begin(state, step, self._over_since)
        total = None
        while total is None:
            for report in self.watch.hear():
                counts, member = now.tally.note(report), self._crew.members[report.worker]
                member.counted += counts
                member.discarded += not counts
            if self._misses_in_vain(now):
                now = self._now = self._begin_without(state, step, now)
            if now.tally.over:
                self._over_since = time.monotonic()
                total = self._gather(now)
        gradient, weight = total
        after, norm = absorb(self._parts, state, step, gradient, jnp.asarray(weight, jnp.float32))
        busy = sum(self._is_busy(worker) for worker in range(self._number))
        done = Done(
            gradients=int(now.tally.counts.sum()),
            discarded=now.discarded + now.tally.discarded + busy,
            uploads=now.uploads,
            downloads=now.downloads,
            delay=0,
            total=gradient,
            norm=float(norm),
        )
        return after._replace(orders=jnp.full_like(state.orders, self._orders)), done

    def _begin(self, state: ClusterState, step: StepHyperparameters, since: float | None = None) -> _Now:
        """Gives all workers that are there the order of a new round."""
        sizes = self._hyperparameters.initial_batch_size, self._hyperparameters.batch_size
        batch = int(sizes[0] if state.iteration[0] == 0 else sizes[1])
        members = self._crew.members
        ready = [worker for worker, member in enumerate(members) if member.working]
        taking_part = np.asarray(self.watch.taking_part())
        rule = self._schedule.rule(jnp.asarray(batch, jnp.int32), taking_part.size)
        tally = Tally(self._number, lambda counts: bool(_is_enough(rule, counts[taking_part])))
        assignment = assignment_of(self._parts, state, self._hyperparameters, step)
        now = _Now(batch, taking_part, rule, tally, assignment, downloads=len(ready))
        order = self._next_order(now)
        now.assignment = self._crew.give(ready, order, now.assignment, since)
        for worker in ready:
            tally.expect(worker, order.number)
        return now

    def _begin_without(self, state: ClusterState, step: StepHyperparameters, now: _Now) -> _Now:
        """The round once more, without those that were waited for in vain; or the end of the run."""
        absent = [int(worker) for worker in now.taking_part if not self._crew.members[worker].working]
        self.watch.do_without(absent, now.taking_part.size)
        lost = now.discarded + now.tally.discarded + int(now.tally.counts.sum())
        after = self._begin(state, step)
        after.discarded, after.uploads = lost, now.uploads
        after.downloads += now.downloads
        return after

    def _share(self, now: _Now) -> int | None:
        """Gradients of a worker after which it waits; None where it goes on."""
        most = self._schedule.most_per_worker
        return None if most is None else most(now.batch, now.taking_part.size)

    def _is_busy(self, worker: int) -> bool:
        """Whether a worker has begun another gradient of this round."""
        now = self._now
        if now is None or not self._crew.members[worker].working or now.tally.order[worker] < 0:
            return False
        share = self._share(now)
        return share is None or int(now.tally.counts[worker]) < share

    def _next_order(self, now: _Now) -> Order:
        self._orders += 1
        return Order(self._orders - 1, self._share(now), delivers=False)

    def _serve(self, worker: int) -> None:
        now = self._now
        if now is None or worker not in now.taking_part:
            return
        order = self._next_order(now)
        self._crew.give([worker], order, now.assignment)
        now.downloads += 1
        now.tally.expect(worker, order.number)

    def _lose(self, worker: int) -> None:
        if self._now is not None:
            self._now.tally.expect(worker, -1)

    def _misses_in_vain(self, now: _Now) -> bool:
        """Whether the round has waited for too long for workers without which it never ends."""
        absent = np.asarray([not self._crew.members[worker].working for worker in now.taking_part])
        fewer = absent.any() or absent.size < self._number
        missing = fewer and bool(_is_never(now.rule, now.tally.counts[now.taking_part], absent))
        return self._patience.is_over(missing)

    def _gather(self, now: _Now) -> tuple[Unit, float] | None:
        """The weighted sum of what counts, and its weight; None where some of it is lost, and the round goes on."""
        counts = now.tally.counts.copy()
        weights = np.zeros(self._number)
        weights[now.taking_part] = self._schedule.weigh(_as_round(counts[now.taking_part]))
        asked = {int(worker): int(counts[worker]) for worker in np.flatnonzero(counts)}
        found = self._crew.totals([int(order) for order in now.tally.order], asked, self._settings.deadline)
        for worker in asked:
            if worker not in found:
                self.watch.miss(worker)
                continue
            self._crew.members[worker].unanswered, unit = 0, found[worker]
            if unit is None:  # it keeps more than it can be ahead of what counts, so this is no worker of ours
                self.watch.begin_again(worker)
                continue
            now.uploads += 1
            fault = fault_of(unit, self._like)
            if fault is not None:
                self.watch.refuse(worker, fault)
        if (now.tally.counts != counts).any():
            return None
        sums = [_weighted(cast(Unit, found[worker]), float(weights[worker])) for worker in sorted(found)]
        return functools.reduce(add_units, sums), float((weights * counts).sum())


def _as_round(counts: np.ndarray) -> Round:
    zero = jnp.zeros([])
    return Round(jnp.asarray(counts), zero, jnp.zeros(counts.shape, jnp.int32), jnp.ones([], bool))


def _weighted(unit: Unit, weight: float) -> Unit:
    return unit._replace(gradient=jax.tree.map(lambda x: x * np.float32(weight), unit.gradient))


_is_enough = jax.jit(lambda rule, counts: rule.enough(rule.limit(counts)))
_is_never = jax.jit(lambda rule, counts, stuck: rule.never(counts, stuck))
