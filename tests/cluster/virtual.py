"""Workers of a virtual clock, for the driver."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from probes import EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.policies import ObservationStatistics
from nigt_jax.runtimes import make_parts
from nigt_jax.runtimes.cluster._by_arrival import ByArrival
from nigt_jax.runtimes.cluster._members import Member
from nigt_jax.runtimes.cluster._messages import Lost, Ready, Report
from nigt_jax.runtimes.cluster._rounds import InRounds
from nigt_jax.runtimes.cluster._server import begin_cluster
from nigt_jax.training import Unit, make_hyperparameters

START = 5.0  # units of time that a process takes until it is ready
LONG = 100_000.0  # after which nothing can come to an end any more; far beyond what passes while the driver is patient


class Crew:
    """Workers of a virtual clock. Worker i's gradient is i + 1 everywhere, so a mean shows who is in it."""

    def __init__(self, durations, like, die=(), spoil=(), mute=(), withhold=(), forget=()):
        self.durations, self.like, self.now = durations, like, 0.0
        self.members = [Member() for _ in durations]
        self.since = []  # of every order
        self.orders, self.finish = {}, {}  # worker to (order, sequence), and to when its next event is
        self.die, self.spoil, self.mute = set(die), set(spoil), set(mute)
        # (worker, order) whose sum does not come, or is not to be had any more
        self.withhold, self.forget = set(withhold), set(forget)
        for worker, member in enumerate(self.members):
            member.ready = Ready(worker, 1, "here")
            member.was_ready = True

    def give(self, workers, order, assignment, since=None):
        self.since.append(since)
        for worker in workers:
            self.orders[worker] = [order, 0]
            self.finish[worker] = self.now + self.durations[worker]
        return assignment

    def start(self, worker):
        self.members[worker].ready = None
        self.members[worker].incarnation += 1
        self.orders.pop(worker, None)
        self.finish[worker] = self.now + START

    def dismiss(self, worker):
        self.members[worker].ready = None
        self.finish.pop(worker, None)
        self.orders.pop(worker, None)

    def silent(self, busy, deadline):
        del busy, deadline
        return []

    def wait(self, seconds):
        del seconds
        if not self.finish or min(self.finish.values()) == math.inf:
            assert not all(member.working for member in self.members), "all work, and nobody has anything to do"
            return []
        worker = min(self.finish, key=lambda k: (self.finish[k], k))
        self.now, member = self.finish[worker], self.members[worker]
        assert self.now < LONG, "the round never ends"
        if not member.working:
            if worker in self.mute:
                self.finish[worker] = math.inf
                return []
            member.ready, member.was_ready = Ready(worker, 2, "here"), True
            self.finish[worker] = math.inf
            return [member.ready]
        order, sequence = self.orders[worker]
        if (worker, order.number, sequence) in self.die:
            self.die.discard((worker, order.number, sequence))
            self.dismiss(worker)
            return [Lost(worker, "is gone")]
        self.orders[worker][1] += 1
        waits = order.most is not None and sequence + 1 >= order.most
        self.finish[worker] = math.inf if waits else self.now + self.durations[worker]
        return [Report(worker, order.number, sequence, self.durations[worker], self.delivered(worker, order))]

    def delivered(self, worker, order):
        """What a report brings."""
        return self.unit(worker, 1) if order.delivers else None

    def unit(self, worker, count):
        value = np.nan if worker in self.spoil else worker + 1.0
        same = jax.tree.map(lambda x: np.full(x.shape, value * count, x.dtype), self.like.gradient)
        statistics = ObservationStatistics(*(np.zeros(x.shape, np.float32) for x in self.like.statistics))
        return Unit(same, statistics, np.float32(count), np.int32(7 * count), np.int32(0), np.float32(-1))

    def totals(self, order, counts, seconds):
        del seconds
        assert all(self.orders[worker][0].number == order[worker] for worker in counts)
        units = {worker: self.unit(worker, count) for worker, count in counts.items()}
        answers = {worker: unit for worker, unit in units.items() if (worker, order[worker]) not in self.withhold}
        return {worker: None if (worker, order[worker]) in self.forget else unit for worker, unit in answers.items()}


def make(name, durations, kind=InRounds, runtime=None, crew=None, crew_class=Crew, **method):
    """A driver of virtual workers, its first state, the hyperparameters of a step, and the workers."""
    batch = {} if kind is ByArrival else {"batch_size": 6}
    config = check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"name": name, "learning_rate": 0.5, **batch, **method},
            "workers": {"count": len(durations)},
            "runtime": {"kind": "ray", **(runtime or {})},
            "training": {"platform": "cpu"},
        }
    )
    parts = make_parts(config, EndsWhenGood(), 1, axis=None)
    hyperparameters = make_hyperparameters(config, parts.policy, parts.estimator, parts.method, 1)
    state = begin_cluster(parts, hyperparameters, jnp.uint32(0))
    real = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    number = lambda dtype: jax.ShapeDtypeStruct((), jnp.dtype(dtype))
    like = Unit(
        jax.tree.map(lambda x: real(x[0]), state.server.sent),
        ObservationStatistics(number("float32"), *(jax.ShapeDtypeStruct((1,), jnp.dtype("float32")),) * 2),
        number("float32"), number("int32"), number("int32"), number("float32"),
    )  # fmt: skip
    crew = crew_class(durations, like, **(crew or {}))
    return kind(config, parts, hyperparameters, crew, like), state, hyperparameters.step, crew
