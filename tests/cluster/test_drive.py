"""The driver's rounds and arrivals, on workers of a virtual clock: who counts, what is summed, who is lost."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from virtual import make

from nigt_jax.clocks import malenia_round, rennala_round, synchronous_round
from nigt_jax.config import check_config
from nigt_jax.errors import RunError, UserError
from nigt_jax.methods import METHODS, Arrivals, JustArrived, Progress, iterate
from nigt_jax.runtimes.cluster._by_arrival import ByArrival
from nigt_jax.runtimes.cluster._rounds import InRounds
from nigt_jax.runtimes.cluster._runtime import RayRuntime
from nigt_jax.transforms import tree_norm

ROUNDS = {"rennala_pg": rennala_round, "malenia_nigt": malenia_round, "synchronous_pg": synchronous_round}


def moved(before, after):
    """By how much a step of plain ascent has moved each parameter, over its length: the mean gradient."""
    steps = jax.tree.map(lambda x, y: (y - x) / 0.5, before.server.sent, after.server.sent)
    values = np.concatenate([np.ravel(x) for x in jax.tree.leaves(steps)])
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    return values[0]


@pytest.mark.parametrize("name", ["rennala_pg", "synchronous_pg"])
def test_who_counts_is_whom_the_clock_counts(name):
    durations = [1.0, 1.5, 4.0]
    driver, state, step, _ = make(name, durations)
    after, done = driver.one(state, step)
    wanted = ROUNDS[name](jnp.tile(jnp.asarray(durations)[:, None], (1, 8)), 6)
    counts = np.asarray(wanted.counts)
    assert done.gradients == counts.sum()
    assert moved(state, after) == pytest.approx((counts * [1, 2, 3]).sum() / counts.sum(), rel=1e-4)
    assert done.uploads == (counts > 0).sum()
    assert done.downloads == 3
    assert done.discarded == 3 - np.sum([0, 0, 0] if name == "rennala_pg" else [1, 1, 1])
    assert float(done.total.returns) == counts.sum()
    assert int(after.iteration[0]) == 1


@pytest.mark.parametrize(("name", "kind"), [("rennala_pg", InRounds), ("afedpg", ByArrival)])
def test_orders_say_since_when_they_could_have_been_given(name, kind):
    """Since the driver knew that the round was over, or had the gradient; the first ones follow from nothing."""
    driver, state, step, crew = make(name, [1.0, 1.5, 4.0], kind)
    began = time.monotonic()
    state, _ = driver.one(state, step)
    done, first = time.monotonic(), len(crew.since)
    driver.one(state, step)
    first, later = (1, crew.since[1:]) if kind is InRounds else (3, crew.since[3:first])
    assert crew.since[:first] == [None] * first
    assert len(later) == 1
    assert began <= later[0] <= done


def test_malenia_weighs_workers_and_not_gradients():
    durations = [1.0, 1.5, 4.0]
    driver, state, step, _ = make("malenia_nigt", durations)
    after, done = driver.one(state, step)
    counts = np.asarray(malenia_round(jnp.tile(jnp.asarray(durations)[:, None], (1, 16)), 6).counts)
    assert done.gradients == counts.sum()
    assert len(set(counts.tolist())) > 1
    norm = np.sqrt(sum(x.size for x in jax.tree.leaves(after.server.sent))) * np.mean([1, 2, 3])
    assert done.norm == pytest.approx(norm, rel=1e-5)


def test_who_dies_costs_its_own_work():
    """Worker 1 dies at its third gradient: its two are lost, and the round has six others."""
    driver, state, step, crew = make("rennala_pg", [1.0, 1.5, 4.0], crew={"die": [(0, 0, 2)]})
    after, done = driver.one(state, step)
    assert done.gradients == 6
    # Until 9 time units there are six of worker 2, or those of workers 2 and 3: 1.5, 3, 4, 4.5, 6, 7.5.
    assert moved(state, after) == pytest.approx((5 * 2 + 3) / 6, rel=1e-4)
    assert crew.members[0].incarnation == 0
    for _ in range(2):
        after, done = driver.one(after, step)
    assert crew.members[0].working
    assert done.gradients == 6


def test_what_cannot_be_is_refused_and_its_worker_expelled():
    driver, state, step, crew = make("rennala_pg", [1.0, 1.5, 4.0], runtime={"most_faults": 2}, crew={"spoil": [0]})
    mean = []
    for _ in range(3):
        before = state
        state, done = driver.one(state, step)
        mean.append(moved(before, state))
        assert done.gradients == 6
    assert min(mean) >= 2  # worker 1 is in none of them
    assert crew.members[0].expelled
    assert "not finite" in crew.members[0].news


@pytest.mark.parametrize("runtime", [{}, {"without_the_lost": True}], ids=["waits", "without_the_lost"])
@pytest.mark.parametrize("name", ["rennala_pg", "synchronous_pg", "malenia_nigt"])
def test_whose_sum_does_not_come_begins_again(name, runtime):
    driver, state, step, crew = make(name, [1.0, 1.5, 4.0], runtime=runtime, crew={"withhold": [(0, 0)]})
    after, done = driver.one(state, step)
    assert crew.orders[0][0].number == 1
    assert done.downloads == 4
    assert done.discarded >= 2  # what worker 1 had done by then
    if name != "rennala_pg":  # everybody is in it
        length = np.sqrt(sum(x.size for x in jax.tree.leaves(after.server.sent)))
        assert done.norm == pytest.approx(length * 2, rel=1e-5)


def test_whose_sum_does_not_come_may_be_gone():
    """Worker 1 is given another order before the driver hears of its end, and one more once it is back."""
    crew = {"withhold": [(0, 0)], "die": [(0, 1, 0)]}
    driver, state, step, crew = make("synchronous_pg", [1.0, 1.5, 4.0], crew=crew)
    after, done = driver.one(state, step)
    assert crew.members[0].incarnation == 0
    assert (done.gradients, done.downloads) == (6, 5)
    assert moved(state, after) == pytest.approx(2, rel=1e-4)


TWICE = {"runtime": {"most_faults": 2, "patience": 0.05}}


def test_whose_sums_do_not_come_is_expelled():
    crew = {"withhold": [(0, 0), (0, 1)]}
    driver, state, step, crew = make("synchronous_pg", [1.0, 1.5, 4.0], crew=crew, **TWICE)
    with pytest.raises(RunError, match=r"^the round has waited 0.05 s for workers that are gone: 1$"):
        driver.one(state, step)
    assert crew.members[0].expelled
    assert crew.members[0].news == "did not send its sum in time; it is not started again"


@pytest.mark.parametrize(
    "crew",
    [
        {"withhold": [(0, 0), (0, 2)]},  # order 1 is of the first round, too, and its sum comes
        {"withhold": [(0, 0), (0, 2)], "die": [(0, 1, 0)]},  # another process is asked the second time
        {"forget": [(0, 0), (0, 1), (0, 3)]},  # it answers
        {"withhold": [(0, 0), (0, 2)], "forget": [(0, 1)]},
    ],
    ids=["one comes", "another process", "too late", "too late once"],
)
def test_whose_sums_come_now_and_then_stays(crew):
    driver, state, step, crew = make("synchronous_pg", [1.0, 1.5, 4.0], crew=crew, **TWICE)
    for _ in range(2):
        state, done = driver.one(state, step)
        assert done.gradients == 6
    assert not crew.members[0].expelled


def test_no_worker_is_left():
    driver, state, step, _ = make("rennala_pg", [1.0, 1.0], runtime={"most_faults": 1}, crew={"spoil": [0, 1]})
    with pytest.raises(RunError, match=r"no worker is left; the last, worker \d, sent something that has numbers"):
        driver.one(state, step)


@pytest.mark.parametrize(("name", "waits"), [("malenia_nigt", True), ("synchronous_pg", True), ("rennala_pg", False)])
def test_who_needs_everybody_waits_and_says_so(name, waits):
    crew = {"die": [(2, 0, 0)], "mute": [2]}
    driver, state, step, _ = make(name, [1.0, 1.5, 4.0], runtime={"patience": 0.05}, crew=crew)
    if waits:
        with pytest.raises(RunError, match=r"the round has waited 0.05 s for workers that are gone: 3$"):
            driver.one(state, step)
    else:
        assert driver.one(state, step)[1].gradients == 6


LOST = {"die": [(2, 0, 0)], "mute": [2]}
ALLOWED = {"patience": 0.05, "without_the_lost": True}


@pytest.mark.parametrize("name", ["synchronous_pg", "malenia_nigt"])
def test_a_run_may_go_on_without_who_is_lost(name):
    """The rule is then that of the others, and so are the weights; who comes back takes part again."""
    driver, state, step, crew = make(name, [1.0, 1.5, 4.0], runtime=ALLOWED, crew=LOST)
    after, done = driver.one(state, step)
    others = jnp.tile(jnp.asarray([[1.0], [1.5]]), (1, 8))
    assert done.gradients == ROUNDS[name](others, 6).counts.sum()
    assert crew.members[2].news == "is gone; the run goes on without it"
    length = np.sqrt(sum(x.size for x in jax.tree.leaves(after.server.sent)))
    assert done.norm == pytest.approx(length * 1.5, rel=1e-5)  # both weigh the same
    after, done = driver.one(after, step)
    assert done.norm == pytest.approx(length * 1.5, rel=1e-5)
    crew.mute.clear()
    crew.finish[2] = crew.now
    while not crew.members[2].working:
        after, done = driver.one(after, step)
    after, done = driver.one(after, step)
    assert done.norm == pytest.approx(length * 2, rel=1e-5)


@pytest.mark.parametrize("back", [False, True], ids=["stays away", "comes back"])
@pytest.mark.parametrize("name", ["synchronous_pg", "malenia_nigt"])
def test_who_is_done_without_is_waited_for_where_nobody_else_is_to_be_there(name, back):
    crew = {"die": [(0, 0, 0)], "mute": [0]}
    driver, state, step, crew = make(name, [1.0, 1.5, 4.0], runtime=ALLOWED, crew=crew)
    after, _ = driver.one(state, step)
    driver.watch.want(1)
    if back:
        crew.mute.clear()
        crew.finish[0] = crew.now
        after, done = driver.one(after, step)
        assert done.norm == pytest.approx(np.sqrt(sum(x.size for x in jax.tree.leaves(after.server.sent))), rel=1e-5)
    else:
        with pytest.raises(RunError, match=r"^the round has waited 0.05 s for workers that are gone: 1$"):
            driver.one(after, step)


def test_without_the_lost_there_may_be_too_few():
    driver, state, step, _ = make("m_synchronous_nigt", [1.0, 1.5, 4.0], runtime=ALLOWED, crew=LOST, batch_size=3)
    with pytest.raises(RunError, match=r"^the round has waited 0.05 s and has too few workers$"):
        driver.one(state, step)


def test_workers_leave_and_join_as_it_is_wanted():
    driver, state, step, crew = make("rennala_pg", [1.0, 1.5, 4.0])
    driver.watch.want(1)
    after, done = driver.one(state, step)
    assert moved(state, after) == 1
    assert (done.downloads, done.uploads) == (1, 1)
    driver.watch.want(2)
    state, done = driver.one(after, step)
    assert moved(after, state) == 1  # the other one is not ready yet
    while not crew.members[1].working:
        state, _ = driver.one(state, step)
    after, done = driver.one(state, step)
    assert moved(state, after) == pytest.approx((4 * 1 + 2 * 2) / 6, rel=1e-4)
    assert not crew.members[2].working


def test_arrivals_go_on_with_fewer_workers():
    driver, state, step, crew = make("asynchronous_pg", [1.0, 2.5], ByArrival)
    state, _ = driver.one(state, step)
    driver.watch.want(1)
    for _ in range(3):
        before = state
        state, _ = driver.one(state, step)
        assert round(float(moved(before, state))) == 1
    driver.watch.want(2)
    while not crew.members[1].counted:
        state, _ = driver.one(state, step)


def test_arrivals_in_their_order_and_their_delays():
    driver, state, step, _ = make("asynchronous_pg", [1.0, 2.5], ByArrival)
    delays, means = [], []
    for _ in range(6):
        before = state
        state, done = driver.one(state, step)
        delays.append(done.delay)
        means.append(round(float(moved(before, state))))
    # Worker 1 at 1, 2, 3, 4, 5; worker 2 at 2.5 and 5.
    assert means == [1, 1, 2, 1, 1, 1]
    assert delays == [0, 0, 2, 1, 0, 0]
    assert done.uploads == done.downloads == 1


def test_what_is_too_old_is_discarded():
    driver, state, step, crew = make("ringmaster_nigt", [1.0, 2.5], ByArrival, max_delay=2)
    total = 0
    for _ in range(5):
        state, done = driver.one(state, step)
        assert done.delay < 2
        total += done.discarded
    assert total == 1
    assert crew.members[1].discarded == 1


def test_what_is_too_old_for_the_number_of_the_update_is_discarded():
    durations = [1.0, 2.5, 9.2]
    arrivals = iter(sorted((time * k, i) for i, time in enumerate(durations) for k in range(1, 40)))
    driver, state, step, _ = make("ringmaster_agnostic_nigt", durations, ByArrival)
    sent, total = [0] * 3, 0
    for number in range(1, 21):
        before, lost = state, 0
        worker = next(arrivals)[1]
        while number - 1 - sent[worker] >= math.isqrt(number):
            sent[worker], lost, worker = number - 1, lost + 1, next(arrivals)[1]
        state, done = driver.one(state, step.at(Progress(jnp.float32(number - 1), *[jnp.zeros([])] * 3)))
        assert (done.delay, done.discarded) == (number - 1 - sent[worker], lost), number
        sent[worker], total = number, total + lost
        model = lambda state: iterate(driver._parts.method, jax.tree.map(lambda x: x[0], state.server)).params
        moves = jax.tree.map(jnp.subtract, model(state), model(before))
        assert tree_norm(moves) == pytest.approx(0.5 / number**0.75, rel=1e-4)
    assert total > 3


def on_ray(name, **others):
    """The configuration of a method on Ray; `others` are settings of its section, and `workers`."""
    workers = others.pop("workers", {})
    sections = {"environment": {"name": "probes:EndsWhenGood"}, "estimator": {"name": "return_to_go"}}
    more = {"method": {"name": name, "batch_size": 10, **others}, "workers": workers, "runtime": {"kind": "ray"}}
    return check_config(sections | more)


ASKS_MORE = [(name, {}) for name in METHODS] + [
    ("fednpg_admm", {"kl_step": True}),
    ("fednpg_admm", {"admm_steps": 2}),
]


@pytest.mark.parametrize(("name", "more"), ASKS_MORE)
def test_what_needs_more_than_a_message_a_round_is_for_a_simulated_clock(name, more):
    config, method = on_ray(name, **more), METHODS[name]
    step, side = method.hyperparameters(config.method), method.worker
    collects = isinstance(method.schedule, Arrivals) and not isinstance(method.schedule.table, JustArrived)
    talks = side is not None and (len(side.exchanges(step)) > 1 or side.beside(step) is not None)
    asks_more = method.plays > 1 or method.adapts or method.combine is not None or collects or talks
    assert bool(config.method.not_on_ray) == asks_more
    if asks_more:
        with pytest.raises(UserError, match=f"^method.name: got {name}, .*; allowed with runtime.kind ray: "):
            RayRuntime(config)


def test_dishonest_workers_are_for_a_simulated_clock():
    with pytest.raises(UserError, match=r"^workers\.byzantine: simulated only, allowed with runtime\.kind ray: none$"):
        RayRuntime(on_ray("lapg", workers={"byzantine": [{"workers": [1]}]}))


def test_who_is_lost_without_an_order_costs_no_gradient():
    """Worker 2 dies over its gradient, and is let go before another process is ready in its place."""
    driver, state, step, crew = make("asynchronous_pg", [1.0, 2.5], ByArrival, crew={"die": [(1, 1, 0)]})
    discarded = []
    for number in range(5):
        if number == 3:
            assert not crew.members[1].working
            driver.watch.want(1)
        state, done = driver.one(state, step)
        discarded.append(done.discarded)
    assert discarded == [0, 0, 1, 0, 0]


def test_an_arrival_of_who_died_comes_again():
    driver, state, step, crew = make("asynchronous_pg", [1.0, 2.5], ByArrival, crew={"die": [(1, 1, 0)]})
    seen = 0
    for _ in range(12):
        state, done = driver.one(state, step)
        seen += done.discarded
    assert seen == 1
    assert crew.members[1].counted >= 1
