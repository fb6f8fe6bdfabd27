"""The slowness that is put on a worker: its times are those of the workers' clock, one after the other."""

import queue
import time

import jax
import numpy as np
import pytest

from nigt_jax.config import check_config
from nigt_jax.policies import ObservationStatistics
from nigt_jax.runtimes.cluster import _worker
from nigt_jax.runtimes.cluster._messages import Dropped, Order, Ready, Report
from nigt_jax.runtimes.cluster._worker import _AHEAD, Programs, Worker
from nigt_jax.training import Unit

UNIT = 0.02
MOMENT = 0.5  # seconds in which a worker that need not wait does many units


def config(**workers):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [4]},
            "estimator": {"name": "return_to_go"},
            "method": {"name": "asynchronous_pg"},
            "workers": {"count": 2, **workers},
            "runtime": {"kind": "ray", "seconds_per_time_unit": UNIT},
            "training": {"platform": "cpu"},
        }
    )


class Instant:
    """Programs whose units cost nothing; each is told of when it begins."""

    keeps, parameters, parts_of_horizon = False, 1, ()

    def __init__(self, config, number):
        del config, number
        self.begun = queue.SimpleQueue()

    def compile(self):
        """There is nothing to compile."""

    def key(self, order, sequence, incarnation):
        del order, sequence, incarnation

    def begin(self, assignment, key):
        del assignment, key
        self.begun.put(None)

    def finish(self, assignment, key, run):
        del assignment, key, run
        one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
        return Unit(none, ObservationStatistics(np.float32(1), none, one), *[np.float32(0)] * 4)


def test_times_depend_on_the_number_of_parameters():
    programs = Programs(config(), 0)
    size = sum(x.size for x in jax.tree.leaves(programs._example.params))
    assert size > 4
    worker = Worker(config(compute_time={"scale": 2, "parameter_exponent": 0.5}), 0, 0)
    assert worker._pace(0, 0) == pytest.approx(UNIT * 2 * size**0.5, rel=1e-5)


@pytest.mark.parametrize("each", [1, None], ids=["one of each order", "many of each order"])
def test_recorded_times_follow_each_other_across_orders(tmp_path, monkeypatch, each):
    """The third is so long that it is broken off; it was begun all the same, as on a simulated clock."""
    recorded = [1.0, 4.0, 5000.0, 7.0]
    path = tmp_path / "times.csv"
    rows = [f"{worker},{time}" for worker in (1, 2) for time in (recorded if worker == 2 else [0.1])]
    path.write_text("\n".join(["worker,duration", *rows]) + "\n")
    monkeypatch.setattr(_worker, "Programs", Instant)
    worker = Worker(config(trace=str(path)), 1, 0)
    told, begun = worker.work(), worker._programs.begun
    order = Order(0, each, delivers=True)
    assert isinstance(next(told), Ready)
    for number in range(2):
        if each or not number:
            worker.give(order._replace(number=number), ())
        begun.get(timeout=30)
        report = next(told)
        assert isinstance(report, Report)
        assert report.seconds >= UNIT * recorded[number]
    if each:
        worker.give(order._replace(number=2), ())
    begun.get(timeout=30)
    worker.give(order._replace(number=3), ())
    assert isinstance(next(told), Dropped)
    assert next(told).seconds >= UNIT * recorded[3]
    worker.hold(True)


def test_a_worker_waits_until_it_is_heard(monkeypatch):
    """So what the driver counts is still to be had, however much slower than the worker it is."""
    monkeypatch.setattr(_worker, "Programs", Instant)
    worker = Worker(config(compute_time={"scale": 1e-6}), 0, 0)
    told = worker.work()
    assert isinstance(next(told), Ready)

    def does(order, first, last, before=0):
        """The worker tells of these units, and begins none after them; `before` are those of earlier orders."""
        got = [next(told) for _ in range(first, last)]
        assert [(report.order, report.sequence) for report in got] == [(order, k) for k in range(first, last)]
        time.sleep(MOMENT)
        assert worker._programs.begun.qsize() == before + last
        assert worker.total(order, last).returns == 0

    worker.give(Order(0, None, delivers=False), ())
    does(0, 0, _AHEAD)
    assert worker.total(0, 1) is not None  # the oldest that a driver can ask for that has heard of one
    worker.heard(0, 10)
    does(0, _AHEAD, _AHEAD + 10)
    worker.heard(7, 1000)  # of an order that it does not have
    time.sleep(MOMENT)
    assert worker._programs.begun.qsize() == _AHEAD + 10
    worker.give(Order(1, None, delivers=False), ())  # another order has it go on, and counts anew
    does(1, 0, _AHEAD, before=_AHEAD + 10)
    worker.hold(True)
