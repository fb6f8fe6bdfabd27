"""How the driver leads the workers through rounds, or takes their gradients one by one, whoever is lost meanwhile."""

import collections
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import Round
from nigt_jax.config import Config
from nigt_jax.errors import RunError
from nigt_jax.methods import Rounds, StepHyperparameters
from nigt_jax.runtimes.cluster._members import Workers, settings_of
from nigt_jax.runtimes.cluster._messages import Lost, Order, Ready, Report
from nigt_jax.runtimes.cluster._server import ClusterState, absorb, assignment_of, fault_of
from nigt_jax.runtimes.cluster._tally import Tally
from nigt_jax.training import Hyperparameters, Parts, Unit, add_units

_LOOK = 0.2  # seconds after which the driver looks who is missing, if it hears nothing


class Done(NamedTuple):
    """What a round, or an update, was.

    Attributes:
      gradients: gradients counted.
      discarded: gradients that were begun and not counted.
      uploads: messages of the parameters' size to the driver.
      downloads: likewise, to workers.
      delay: updates between the query point of the gradient and the update.
      total: what the counted ones bring together.
      norm: norm of the direction that was absorbed.
    """

    gradients: int
    discarded: int
    uploads: int
    downloads: int
    delay: int
    total: Unit
    norm: float


class Watch:
    """Hears the workers, and keeps as many at work as there should be.

    Args:
      config: the run's configuration.
      crew: the workers.
      serve: called with a worker that is ready and has no order; gives it one.
      lose: called with a worker whose unfinished work is lost.
      busy: whether a worker should be at work, and so be heard of before long.
    """

    def __init__(
        self,
        config: Config,
        crew: Workers,
        serve: Callable[[int], None],
        lose: Callable[[int], None],
        busy: Callable[[int], bool],
    ):
        self._settings, self._crew = settings_of(config), crew
        self._serve, self._lose, self._busy = serve, lose, busy

    def hear(self) -> list[Report]:
        """What workers have done; waits a moment for the first of it."""
        reports = []
        for event in self._crew.wait(_LOOK):
            if isinstance(event, Report):
                reports.append(event)
            elif isinstance(event, Ready):
                self._serve(event.worker)
            else:
                self._replace(event)
        for worker in self._crew.silent(self._busy, self._settings.deadline):
            self._crew.dismiss(worker)
            self._again(Lost(worker, "was not heard of in time"))  # it may have waited for a place in the cluster
        return reports

    def wait_until_ready(self, seconds: float) -> None:
        """Waits for all workers, or so long; and on for the first of them."""
        until = time.monotonic() + seconds
        while not all(member.working or member.expelled for member in self._crew.members):
            if time.monotonic() > until and any(member.working for member in self._crew.members):
                return
            self.hear()

    def refuse(self, worker: int, why: str) -> None:
        """Drops what a worker has sent; who sends such things too often is expelled."""
        member = self._crew.members[worker]
        member.faults += 1
        member.news = f"sent something that {why}"
        self._lose(worker)
        if member.faults >= self._settings.most_faults:
            self._crew.dismiss(worker)
            self._expel(worker)
        else:
            self._serve(worker)

    def _replace(self, lost: Lost) -> None:
        member = self._crew.members[lost.worker]
        member.failed_starts += not member.was_ready
        if member.failed_starts < self._settings.most_faults:
            self._again(lost)
        else:
            member.news = lost.why
            self._lose(lost.worker)
            self._expel(lost.worker)

    def _again(self, lost: Lost) -> None:
        self._crew.members[lost.worker].news = lost.why
        self._lose(lost.worker)
        self._crew.start(lost.worker)

    def _expel(self, worker: int) -> None:
        member = self._crew.members[worker]
        member.expelled = True
        member.news += "; it is not started again"
        if all(other.expelled for other in self._crew.members):
            raise RunError(f"no worker is left; the last, worker {worker + 1}, {member.news}")


@dataclasses.dataclass
class _Now:
    """The round under way.

    Attributes:
      batch: M of this round.
      tally: its account.
      assignment: what workers compute with, as Ray keeps it.
      downloads: messages to workers.
      uploads: sums of workers that have come in.
    """

    batch: int
    tally: Tally
    assignment: Any
    downloads: int = 0
    uploads: int = 0


class InRounds:
    """Leads the workers through rounds.

    Args:
      config: the run's configuration.
      parts: the run's parts; their method has rounds.
      hyperparameters: the run's.
      crew: the workers.
      like: a unit of ShapeDtypeStructs.
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._settings, self._number = settings_of(config), config.workers.count
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self._schedule = cast(Rounds, parts.method.schedule)
        self._watch = Watch(config, crew, self._serve, self._lose, self._is_busy)
        self._orders = 0
        self._missed_since: float | None = None
        self._now: _Now | None = None

    def wait_for_everyone(self, seconds: float) -> None:
        """Waits for the workers, which may take so long; then for the first of them."""
        self._watch.wait_until_ready(seconds)

    def one(self, state: ClusterState, step: StepHyperparameters) -> tuple[ClusterState, Done]:
        """One round."""
        self._orders = max(self._orders, int(state.orders[0]))
        now = self._now = self._begin(state)
        total = None
        while total is None:
            for report in self._watch.hear():
                counts, member = now.tally.note(report), self._crew.members[report.worker]
                member.counted += counts
                member.discarded += not counts
            self._look_for_the_missing(now)
            if now.tally.over:
                total = self._gather(now)
        gradient, weight = total
        after, norm = absorb(self._parts, state, step, gradient, jnp.asarray(weight, jnp.float32))
        busy = sum(self._is_busy(worker) for worker in range(self._number))
        done = Done(
            gradients=int(now.tally.counts.sum()),
            discarded=now.tally.discarded + busy,
            uploads=now.uploads,
            downloads=now.downloads,
            delay=0,
            total=gradient,
            norm=float(norm),
        )
        return after._replace(orders=jnp.full_like(state.orders, self._orders)), done

    def _begin(self, state: ClusterState) -> _Now:
        """Gives all workers that are there the order of a new round."""
        sizes = self._hyperparameters.initial_batch_size, self._hyperparameters.batch_size
        batch = int(sizes[0] if state.iteration[0] == 0 else sizes[1])
        ready = [worker for worker, member in enumerate(self._crew.members) if member.working]
        order = self._next_order(batch)
        assignment = self._crew.give(ready, order, assignment_of(state, self._hyperparameters))
        tally = Tally(self._number, functools.partial(self._enough, batch))
        for worker in ready:
            tally.expect(worker, order.number)
        return _Now(batch, tally, assignment, downloads=len(ready))

    def _share(self, batch: int) -> int | None:
        """Gradients of a worker after which it waits; None where it goes on."""
        most = self._schedule.most_per_worker
        return None if most is None else most(batch, self._number)

    def _is_busy(self, worker: int) -> bool:
        """Whether a worker has begun another gradient of this round."""
        now = self._now
        if now is None or not self._crew.members[worker].working:
            return False
        share = self._share(now.batch)
        return share is None or int(now.tally.counts[worker]) < share

    def _next_order(self, batch: int) -> Order:
        self._orders += 1
        return Order(self._orders - 1, self._share(batch), delivers=False)

    def _serve(self, worker: int) -> None:
        now = self._now
        if now is None:
            return
        order = self._next_order(now.batch)
        self._crew.give([worker], order, now.assignment)
        now.downloads += 1
        now.tally.expect(worker, order.number)

    def _lose(self, worker: int) -> None:
        if self._now is not None:
            self._now.tally.expect(worker, -1)

    def _rule(self, batch: int) -> Any:
        return self._schedule.rule(jnp.asarray(batch, jnp.int32), self._number)

    def _enough(self, batch: int, counts: np.ndarray) -> bool:
        return bool(_is_enough(self._rule(batch), jnp.asarray(counts)))

    def _look_for_the_missing(self, now: _Now) -> None:
        """Ends the run where a round has waited in vain, for so long, for workers that are gone."""
        absent = np.asarray([not member.working for member in self._crew.members])
        in_vain = absent.any() and bool(
            _is_never(self._rule(now.batch), jnp.asarray(now.tally.counts), jnp.asarray(absent))
        )
        if not in_vain:
            self._missed_since = None
            return
        self._missed_since = self._missed_since or time.monotonic()
        if time.monotonic() - self._missed_since > self._settings.patience:
            who = ", ".join(str(worker + 1) for worker in np.flatnonzero(absent))
            raise RunError(f"the round has waited {self._settings.patience:g} s for workers that are gone: {who}")

    def _gather(self, now: _Now) -> tuple[Unit, float] | None:
        """The weighted sum of what counts, and its weight; None where some of it is lost, and the round goes on."""
        counts = now.tally.counts.copy()
        weights = np.asarray(self._schedule.weigh(_as_round(counts)))
        asked = {int(worker): int(counts[worker]) for worker in np.flatnonzero(counts)}
        found = self._crew.totals([int(order) for order in now.tally.order], asked, self._settings.deadline)
        for worker, unit in found.items():
            if unit is None:
                self._lose(worker)
                continue
            now.uploads += 1
            fault = fault_of(unit, self._like)
            if fault is not None:
                self._watch.refuse(worker, fault)
        if (now.tally.counts != counts).any():
            return None
        sums = [_weighted(cast(Unit, found[worker]), float(weights[worker])) for worker in sorted(found)]
        return functools.reduce(_added, sums), float((weights * counts).sum())


class ByArrival:
    """Takes the workers' gradients as they arrive, each at the query point that its worker was sent.

    Arguments are those of :class:`InRounds`.
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self._watch = Watch(config, crew, self._serve, self._lose, lambda worker: self._sent[worker][0] >= 0)
        self._sent = [(-1, 0)] * config.workers.count  # number of each worker's order, and updates made by then
        self._arrived: collections.deque[Report] = collections.deque()
        self._state: ClusterState | None = None
        self._orders = self._downloads = self._discarded = self._uploads = 0

    def one(self, state: ClusterState, step: StepHyperparameters) -> tuple[ClusterState, Done]:
        """One update."""
        resumed = self._state is not None and int(self._state.iteration[0]) != int(state.iteration[0])
        if self._state is None or resumed:
            self._orders = int(state.orders[0])
            self._at(state)
            for worker, member in enumerate(self._crew.members):
                if member.working:
                    self._serve(worker)
        while True:
            while not self._arrived:
                self._arrived.extend(self._watch.hear())
            report = self._arrived.popleft()
            worker, now = report.worker, int(state.iteration[0])
            order, at = self._sent[worker]
            if report.order != order:
                continue  # of a process that is gone
            self._uploads += 1
            fault = fault_of(report.unit, self._like)
            if fault is not None:
                self._watch.refuse(worker, fault)
                continue
            if now - at < int(step.max_delay):
                break
            self._discarded += 1
            self._crew.members[worker].discarded += 1
            self._serve(worker)
        self._crew.members[worker].counted += 1
        after, norm = absorb(self._parts, state, step, report.unit, jnp.ones([]))
        self._at(after)
        self._serve(worker)
        orders = jnp.full_like(state.orders, self._orders)
        done = Done(1, self._discarded, self._uploads, self._downloads, now - at, report.unit, float(norm))
        self._discarded = self._uploads = self._downloads = 0
        self._state = after._replace(orders=orders)
        return self._state, done

    def wait_for_everyone(self, seconds: float) -> None:
        """Waits for the workers, which may take so long; then for the first of them."""
        self._watch.wait_until_ready(seconds)

    def _at(self, state: ClusterState) -> None:
        self._state, self._assignment = state, assignment_of(state, self._hyperparameters)

    def _serve(self, worker: int) -> None:
        if self._state is None:
            return
        order = Order(self._orders, most=1, delivers=True)
        self._orders += 1
        self._sent[worker] = (order.number, int(self._state.iteration[0]))
        self._assignment = self._crew.give([worker], order, self._assignment)
        self._downloads += 1

    def _lose(self, worker: int) -> None:
        self._sent[worker] = (-1, 0)
        self._discarded += 1


def _as_round(counts: np.ndarray) -> Round:
    zero = jnp.zeros([])
    return Round(jnp.asarray(counts), zero, jnp.zeros(counts.shape, jnp.int32), jnp.ones([], bool))


def _weighted(unit: Unit, weight: float) -> Unit:
    return unit._replace(gradient=jax.tree.map(lambda x: x * np.float32(weight), unit.gradient))


_added = jax.jit(add_units)
_is_enough = jax.jit(lambda rule, counts: rule.enough(rule.limit(counts)))
_is_never = jax.jit(lambda rule, counts, stuck: rule.never(counts, stuck))
