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
        while not all(member.working or member.expelled or member.away for member in self._crew.members):
            if time.monotonic() > until and any(member.working for member in self._crew.members):
                return
            self.hear()

    def want(self, number: int) -> None:
        """Has the first so many workers be there, and no others; those that come join when they are ready."""
        for worker, member in enumerate(self._crew.members):
            if worker >= number and not member.away:
                self._crew.dismiss(worker)
                member.away, member.news = True, "was let go"
                self._lose(worker)
            elif worker < number and member.away:
                member.away, member.news = False, "was called"
                if not member.expelled:
                    self._crew.start(worker)

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
        if all(other.expelled or other.away for other in self._crew.members):
            raise RunError(f"no worker is left; the last, worker {worker + 1}, {member.news}")


@dataclasses.dataclass
class _Now:
    """The round under way.

    Attributes:
      batch: M of this round.
      taking_part: numbers of the workers that its rule is about; others join in the next one.
      tally: its account.
      assignment: what workers compute with, as Ray keeps it.
      downloads: messages to workers.
      uploads: sums of workers that have come in.
      discarded: gradients of rounds before, which could not be brought to an end.
    """

    batch: int
    taking_part: np.ndarray
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
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._settings, self._number = settings_of(config), config.workers.count
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self._schedule = cast(Rounds, parts.method.schedule)
        self._watch = Watch(config, crew, self._serve, self._lose, self._is_busy)
        self._orders = 0
        self._missed_since: float | None = None
        self._now: _Now | None = None
        self._without: set[int] = set()  # workers that were waited for in vain
        self.want = self._watch.want

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
            if self._misses_in_vain(now):
                now = self._now = self._begin_without(state, now)
            if now.tally.over:
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

    def _begin(self, state: ClusterState) -> _Now:
        """Gives all workers that are there the order of a new round."""
        sizes = self._hyperparameters.initial_batch_size, self._hyperparameters.batch_size
        batch = int(sizes[0] if state.iteration[0] == 0 else sizes[1])
        members = self._crew.members
        ready = [worker for worker, member in enumerate(members) if member.working]
        self._without -= {*ready}
        out = [member.away or worker in self._without for worker, member in enumerate(members)]
        taking_part = np.flatnonzero(~np.asarray(out))
        tally = Tally(self._number, functools.partial(self._enough, batch, taking_part))
        now = _Now(batch, taking_part, tally, assignment_of(state, self._hyperparameters), downloads=len(ready))
        order = self._next_order(now)
        now.assignment = self._crew.give(ready, order, now.assignment)
        for worker in ready:
            tally.expect(worker, order.number)
        return now

    def _begin_without(self, state: ClusterState, now: _Now) -> _Now:
        """The round once more, without those that were waited for in vain; or the end of the run."""
        absent = [int(worker) for worker in now.taking_part if not self._crew.members[worker].working]
        who, seconds = ", ".join(str(worker + 1) for worker in absent), self._settings.patience
        if not self._settings.without_the_lost or len(absent) in (0, now.taking_part.size):
            for_whom = f"for workers that are gone: {who}" if absent else "and has too few workers"
            raise RunError(f"the round has waited {seconds:g} s {for_whom}")
        for worker in absent:
            self._crew.members[worker].news += "; the run goes on without it"
        self._without |= {*absent}
        lost = now.discarded + now.tally.discarded + int(now.tally.counts.sum())
        after = self._begin(state)
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

    def _rule(self, batch: int, taking_part: np.ndarray) -> Any:
        return self._schedule.rule(jnp.asarray(batch, jnp.int32), taking_part.size)

    def _enough(self, batch: int, taking_part: np.ndarray, counts: np.ndarray) -> bool:
        return bool(_is_enough(self._rule(batch, taking_part), jnp.asarray(counts[taking_part])))

    def _misses_in_vain(self, now: _Now) -> bool:
        """Whether the round has waited for too long for workers without which it never ends."""
        absent = np.asarray([not self._crew.members[worker].working for worker in now.taking_part])
        fewer = absent.any() or absent.size < self._number
        counts = jnp.asarray(now.tally.counts[now.taking_part])
        if not fewer or not _is_never(self._rule(now.batch, now.taking_part), counts, jnp.asarray(absent)):
            self._missed_since = None
            return False
        self._missed_since = self._missed_since or time.monotonic()
        waited = time.monotonic() - self._missed_since > self._settings.patience
        self._missed_since = None if waited else self._missed_since
        return waited

    def _gather(self, now: _Now) -> tuple[Unit, float] | None:
        """The weighted sum of what counts, and its weight; None where some of it is lost, and the round goes on."""
        counts = now.tally.counts.copy()
        weights = np.zeros(self._number)
        weights[now.taking_part] = self._schedule.weigh(_as_round(counts[now.taking_part]))
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
        self.want = self._watch.want

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
