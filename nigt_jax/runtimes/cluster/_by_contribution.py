"""How the driver leads workers that keep something, and decide from data whether they upload."""

import functools
import time
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.config import Config
from nigt_jax.methods import Rounds, WorkerSide
from nigt_jax.runtimes.cluster._members import Workers, settings_of
from nigt_jax.runtimes.cluster._messages import Order, Report
from nigt_jax.runtimes.cluster._server import ClusterState, absorb, assignment_of, fault_of
from nigt_jax.runtimes.cluster._watch import Done, Patience, Watch
from nigt_jax.training import Hyperparameters, Parts, Unit, add_units


class ByContribution:
    """Leads the workers through rounds in which each has one unit, and sends what comes of it, or that nothing does.

    The server follows what every worker keeps. A worker that has done the last round goes on from what it has; any
    other one is sent what the server knows. Who is left out is silent: the server keeps what it uploaded last.

    Arguments are those of :class:`nigt_jax.runtimes.cluster._rounds.InRounds`; the method's workers keep something.
    """

    def __init__(self, config: Config, parts: Parts, hyperparameters: Hyperparameters, crew: Workers, like: Any):
        self._config, self._settings, self._number = config, settings_of(config), config.workers.count
        self._parts, self._hyperparameters, self._crew, self._like = parts, hyperparameters, crew, like
        self.watch = Watch(config, crew, self._serve, self._lose, self._is_busy)
        self._patience = Patience(self._settings.patience)
        self._orders = self._downloads = self._discarded = 0
        self._order = [-1] * self._number  # that each worker has
        self._has = [(-1, -1)] * self._number  # incarnation and order of the outcome that was absorbed last
        self._collected: dict[int, Unit] = {}
        self._taking_part: set[int] = set()
        self._state: ClusterState | None = None
        self._over_since: float | None = None  # when the driver had all of the last round

    def one(self, state: ClusterState, step: Any) -> tuple[ClusterState, Done]:
        """One round."""
        self._begin(state, step)
        while self._collected.keys() < self._taking_part:
            for report in self.watch.hear():
                self._note(report)
            self._look_for_the_missing()
        self._over_since = time.monotonic()
        sent = {worker: unit for worker, unit in self._collected.items() if unit.gradient != ()}
        after, total, norm = self._absorbed(state, step, sent)
        share = self._share(state)
        for worker in self._collected:
            if self._order[worker] >= 0:  # otherwise it is gone since
                self._has[worker] = (self._crew.members[worker].incarnation, self._order[worker])
            self._crew.members[worker].counted += share
        counted = share * len(self._collected)
        done = Done(counted, self._discarded, len(sent), self._downloads, 0, total, float(norm))
        return after._replace(orders=jnp.full_like(state.orders, self._orders)), done

    def _begin(self, state: ClusterState, step: Any) -> None:
        if self._state is not None and int(self._state.iteration[0]) >= int(state.iteration[0]):
            self._has = [(-1, -1)] * self._number  # what workers have is of rounds that are done once more
        members = self._crew.members
        self._state, self._orders = state, max(self._orders, int(state.orders[0]))
        self._assignment: Any = assignment_of(self._parts, state, self._hyperparameters, step)
        self._collected, self._downloads, self._discarded = {}, 0, 0
        self._order = [-1] * self._number
        self._taking_part = {*self.watch.taking_part()}
        for worker in sorted(self._taking_part):
            if members[worker].working:
                self._serve(worker, self._over_since)

    def _share(self, state: ClusterState) -> int:
        """Gradients of each worker in a round."""
        tuned = self._hyperparameters
        batch = int(tuned.initial_batch_size if state.iteration[0] == 0 else tuned.batch_size)
        most = cast(Rounds, self._parts.method.schedule).most_per_worker
        return batch if most is None else most(batch, self._number)

    def _serve(self, worker: int, since: float | None = None) -> None:
        """Gives a worker its unit of this round, and what it goes on from, unless it has that."""
        if self._state is None or worker not in self._taking_part:
            return
        incarnation, after = self._has[worker]
        has_it = after >= 0 and incarnation == self._crew.members[worker].incarnation
        kept = None if has_it else jax.device_get(jax.tree.map(lambda x: x[0, worker], self._state.workers))
        episodes = self._share(self._state) * self._config.method.trajectories_per_gradient
        order = Order(self._orders, most=1, delivers=True, episodes=episodes, after=after, kept=kept)
        self._orders += 1
        self._order[worker] = order.number
        self._assignment = self._crew.give([worker], order, self._assignment, since)
        self._downloads += 1 if has_it else 2  # what it goes on from is as large as the parameters

    def _note(self, report: Report) -> None:
        worker = report.worker
        if report.order != self._order[worker] or worker in self._collected:
            return
        silent = isinstance(report.unit, Unit) and report.unit.gradient == ()
        fault = fault_of(report.unit, self._like._replace(gradient=()) if silent else self._like)
        if fault is None:
            self._collected[worker] = report.unit
        else:
            self.watch.refuse(worker, fault)

    def _lose(self, worker: int) -> None:
        """Work under way is lost; what was sent is not. A worker that is served again goes on from what is known."""
        self._has[worker] = (-1, -1)
        if worker not in self._collected and self._order[worker] >= 0:
            self._discarded += self._share(cast(ClusterState, self._state))
        self._order[worker] = -1

    def _is_busy(self, worker: int) -> bool:
        return self._order[worker] >= 0 and worker not in self._collected

    def _look_for_the_missing(self) -> None:
        """Ends the run where it has waited for too long for workers that are gone, or goes on without them."""
        missing = [w for w in sorted(self._taking_part - self._collected.keys()) if not self._crew.members[w].working]
        if not self._patience.is_over(bool(missing)):
            return
        self.watch.do_without(missing, len(self._taking_part))
        self._taking_part -= {*missing}

    def _absorbed(self, state: ClusterState, step: Any, sent: dict[int, Unit]) -> tuple[ClusterState, Unit, Any]:
        """The state after the round, what its units bring together, and the norm of the direction."""
        nothing = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self._like.gradient)
        units = [
            unit._replace(gradient=sent[worker].gradient if worker in sent else nothing)
            for worker, unit in sorted(self._collected.items())
        ]
        total = functools.reduce(add_units, units)
        after, norm = absorb(self._parts, state, step, total, jnp.asarray(self._number, jnp.float32))
        messages = [sent[worker].gradient if worker in sent else nothing for worker in range(self._number)]
        uploads = np.asarray([worker in sent for worker in range(self._number)])
        side = cast(WorkerSide, self._parts.method.worker)
        told = side.told(jax.tree.map(lambda x: x[0], state.server))
        kept = _known(side, state.workers, told, messages, uploads, step)
        return after._replace(workers=kept), total, norm


@functools.partial(jax.jit, static_argnums=0)
def _known(side: WorkerSide, workers: Any, told: Any, messages: list[Any], uploads: Any, step: Any) -> Any:
    """What workers keep after the round, with the axis of runs, of which there is one."""
    own, stacked = jax.tree.map(lambda x: x[0], workers), jax.tree.map(lambda *x: jnp.stack(x), *messages)
    return jax.tree.map(lambda x: x[None], side.known(own, told, stacked, uploads, step))
