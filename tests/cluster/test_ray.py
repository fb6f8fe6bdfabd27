"""The real thing: processes of Ray, some of which are killed."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from nigt_jax.config import check_config
from nigt_jax.runtimes import make_runtime

slow = pytest.mark.slow  # a cluster of processes that compile; one of these tests is enough to see that it works


def config(**changes):
    settings = {
        "environment": {"name": "fast", "horizon": 20},
        "policy": {"hidden_sizes": [8]},
        "estimator": {"name": "return_to_go", "discount": 0.9},
        "method": {"name": "rennala_nigt", "batch_size": 12, "momentum": 0.5, "trajectories_per_gradient": 2},
        "workers": {"count": 3, "compute_time": {"worker_exponent": 1}},
        "runtime": {"kind": "ray", "seconds_per_time_unit": 0.02, "deadline": 10.0, "most_faults": 2},
        "training": {"iterations": 10, "chunk": 10, "platform": "cpu"},
        "evaluation": {"episodes": 3},
    }
    return check_config({key: section | changes.get(key, {}) for key, section in settings.items()})


@pytest.fixture(scope="module")
def runtime():
    made = make_runtime(config())
    made.compile()
    yield made
    made.close()


def kill(member):
    os.kill(member.ready.process, signal.SIGKILL)


@slow
def test_rounds_count_exactly_as_many_as_they_should(runtime):
    state, metrics = runtime.run(runtime.initial_state(), 6)
    assert int(state.iteration[0]) == 6
    assert metrics.gradients[:, 0].tolist() == [12] * 6
    assert (metrics.uploads <= 3).all()  # a sum of every worker, not a message of every gradient
    assert metrics.downloads[:, 0].tolist() == [3] * 6
    times = np.asarray(metrics.time.high)[:, 0]
    assert (np.diff(times) > 0).all()
    # Worker 1 takes 0.02 s, the others twice and three times as much: 12 gradients take 0.14 s, 6 rounds 0.84.
    assert times[-1] > 0.8
    (evaluation,) = runtime.evaluate(state)
    assert np.isfinite(evaluation["return_mean"])


def test_who_is_killed_costs_only_its_own_work(runtime):
    """Killed in the middle of a round, the fastest worker; it is replaced, and no gradient counts twice."""
    members = runtime.crew.members
    before = [member.incarnation for member in members]
    threading.Timer(0.3, kill, [members[0]]).start()
    state, metrics = runtime.run(runtime.initial_state(), 10)
    assert metrics.gradients[:, 0].tolist() == [12] * 10
    assert members[0].incarnation == before[0] + 1
    assert "gone" in members[0].news
    until = time.monotonic() + 120
    while not members[0].working and time.monotonic() < until:
        state, _ = runtime.run(state, 1)
    counted = members[0].counted
    state, _ = runtime.run(state, 4)
    assert members[0].counted > counted  # it is back
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state)))


@slow
def test_who_hangs_is_missed_and_replaced(runtime):
    """Nothing is heard of it, though its process is there."""
    members = runtime.crew.members
    state, _ = runtime.run(runtime.initial_state(), 1)
    before, process = members[1].incarnation, members[1].ready.process
    os.kill(process, signal.SIGSTOP)
    until = time.monotonic() + 120
    while members[1].incarnation == before and time.monotonic() < until:
        state, metrics = runtime.run(state, 2)
        assert metrics.gradients[:, 0].tolist() == [12] * 2
    assert members[1].incarnation == before + 1
    assert members[1].news == "was not heard of in time"
    until = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{process}").exists()


@slow
def test_who_is_slow_is_not_missed(runtime):
    """A worker that never has a gradient in time for a round, for longer than the deadline."""
    slower = config(
        workers={"compute_time": {"values": [1, 1, 200]}},
        runtime={"deadline": 3.0, "seconds_per_time_unit": 0.05},
    )
    del runtime  # only has Ray be there
    made = make_runtime(slower)
    made.compile()
    try:
        state = made.initial_state()
        until = time.monotonic() + 12
        while time.monotonic() < until:
            state, _ = made.run(state, 5)
        assert [member.incarnation for member in made.crew.members] == [0, 0, 0]
        assert made.crew.members[2].counted == 0
    finally:
        made.close()


@slow
def test_who_is_ahead_is_told_that_it_was_heard(runtime):
    """A round of one worker, who does ten times as many gradients as it may be ahead of the driver."""
    del runtime  # only has Ray be there
    made = make_runtime(
        config(method={"batch_size": 320}, workers={"count": 1}, runtime={"seconds_per_time_unit": 0.0})
    )
    made.compile()
    try:
        _, metrics = made.run(made.initial_state(), 2)
        assert metrics.gradients[:, 0].tolist() == [320] * 2
        assert metrics.uploads[:, 0].tolist() == [1] * 2
    finally:
        made.close()


@slow
def test_who_sends_nonsense_is_expelled(runtime, monkeypatch):
    """A worker whose sums are no numbers: none of them is absorbed, and the rounds are those of the others."""
    del runtime  # only has Ray be there
    import ray

    from nigt_jax.runtimes.cluster import _crew

    class Spoiling(_crew._Process):
        def total(self, order, count):
            unit = super().total(order, count)
            return unit if self._worker._number else unit._replace(returns=np.float32(np.nan))

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    spoiling = ray.remote(concurrency_groups={"work": 1, "control": 1})(Spoiling)
    monkeypatch.setattr(_crew, "_ACTOR", spoiling)
    made = make_runtime(config())
    made.compile()
    try:
        state, metrics = made.run(made.initial_state(), 8)
        assert metrics.gradients[:, 0].tolist() == [12] * 8
        member = made.crew.members[0]
        assert member.expelled
        assert (member.faults, member.counted > 0) == (2, True)
        assert member.news == "sent something that has numbers that are not finite; it is not started again"
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state)))
    finally:
        made.close()
