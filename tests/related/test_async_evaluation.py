"""Asynchronous policy evaluation against an event queue, two algorithms that it contains, and closed forms."""

import functools
from typing import NamedTuple

import async_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from nigt_jax.clocks import to_float64
from nigt_jax.compilation import compile_options
from nigt_jax.config.systems import AsyncEvaluationConfig, MarkovRewardProcess
from nigt_jax.errors import UserError
from nigt_jax.related.async_evaluation import AsyncEvaluation, _mail
from nigt_jax.related.async_evaluation._problem import closed_form, make_samples, split_evenly
from nigt_jax.related.async_evaluation._system import fitted_rate

EVEN = {"worker_exponent": 0.0}
# Five nodes whose data, speeds and delays differ, two of which are away for a while, and in the end all of them.
RAGGED = {
    "seed": 3,
    "problem": {"samples": 23, "features": 2, "discount": 0.6},
    "graph": {"kind": "random", "neighbours": 2},
    "method": {"step_size": 0.05, "dual_ratio": 1.5},
    "wake_ups": 7,
    "workers": {
        "count": 5,
        "compute_time": {"values": [1.0, 0.4, 5.0, 1.3, 0.9]},
        "communication_time": {"values": [0.0, 0.7, 2.3, 5.0, 9.0]},
        "noise": {"family": "exponential"},
        "speed": {
            "changes": [
                {"workers": [2], "start": 3.0, "end": 9.5},
                {"workers": [2, 4], "start": 20.0, "end": 31.0},
                {"start": 70.0},
            ]
        },
    },
}
END = ((70.0, np.inf),)
OUTAGES = [END, ((3.0, 9.5), (20.0, 31.0), *END), END, ((20.0, 31.0), *END), END]


def config(**sections):
    return TypeAdapter(AsyncEvaluationConfig).validate_python(sections)


class Ran(NamedTuple):
    system: AsyncEvaluation
    state: object
    time: np.ndarray  # after every iteration, as everything below
    counted: object
    scalars: dict


def run(cfg, *lengths):
    """So many iterations, in compiled pieces; with an evaluation after each."""
    system = AsyncEvaluation(cfg)  # no 64 bits are needed yet
    with jax.enable_x64(True):

        def step(state, _):
            state, counted, scalars = system.step(state)
            return state, (counted, scalars | system.evaluate(state))

        whole = lambda state, length: jax.lax.scan(step, state, length=length)
        play = jax.jit(whole, static_argnums=1, compiler_options=compile_options("cpu"))
        state, pieces = jax.jit(system.begin)(jax.random.key(5)), []
        for length in lengths:
            state, piece = play(state, length)
            pieces.append(jax.device_get(piece))
    counted, scalars = jax.tree.map(lambda *pieces: np.concatenate(pieces), *pieces)
    return Ran(system, state, to_float64(counted.time), counted, scalars)


def problem_of(system):
    return tuple(np.asarray(x) for x in system.world.network.data.samples)


def links_of(system):
    """Read off the wiring: [i, j] where i hears j."""
    wiring = system.world.network.wiring
    links = np.zeros((len(wiring.senders),) * 2, bool)
    for i, (senders, linked) in enumerate(zip(wiring.senders, wiring.linked, strict=True)):
        links[i, senders[linked]] = True
    return links


def queue_of(system, **kind):
    own, law = system.config, system.config.workers.communication_time
    return oracle.Queue(
        problem_of(system),
        links_of(system),
        np.asarray(law.values or np.full(own.workers.count, law.scale), np.float32).astype(float),
        own.step_size,
        own.problem.regularization,
        own.method.dual_ratio,
        **kind,
    )


def durations(system, count):
    """Times that the clock draws, of which its own tests say what they are."""
    number = np.broadcast_to(np.arange(count, dtype=np.int32), (system.config.workers.count, count))
    return np.asarray(jax.jit(system.world.clock.work.amounts)(jax.random.key(5), number), np.float64)


@functools.cache
def ragged():
    return run(config(**RAGGED), 30, 30, 30)


def test_every_node_is_where_an_event_queue_has_it():
    """Random speeds, delays from none to beyond several wake-ups, outages, data of 5, 5, 5, 4 and 4 samples."""
    ran = ragged()
    queue = queue_of(ran.system)
    woken = oracle.play(queue, durations(ran.system, 400), 600, OUTAGES)
    assert 350 < len(woken) < 500
    assert len({i for i, _, _ in woken}) == 5
    # What a draw rounds to may depend on how it is compiled.
    np.testing.assert_allclose(ran.time[: len(woken) // 7], [now for _, now, _ in woken[6::7]], rtol=1e-6)
    oldest = [max(age for _, _, age in woken[k : k + 7]) for k in range(0, len(woken) // 7 * 7, 7)]
    np.testing.assert_allclose(ran.scalars["staleness"][: len(oldest)], oldest, rtol=1e-6)
    nodes = ran.state.nodes
    for ours, theirs in ((nodes.x, queue.x), (nodes.ahead, queue.ahead), (nodes.share, queue.share)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(nodes.gradient, queue.gradient, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(nodes.kept.field, np.concatenate(queue.table), rtol=1e-11, atol=1e-12)
    heard_by = links_of(ran.system).sum(0)
    assert ran.counted.messages.sum() == sum(heard_by[i] for i, _, _ in woken)
    assert (ran.counted.numbers == 2 * 4 * ran.counted.messages).all()
    assert (ran.counted.gradients[: len(woken) // 7] == 7).all()
    assert ran.counted.gradients.sum() == len(woken)
    assert not ran.counted.env_steps.any()
    away = np.sqrt(np.mean(((queue.x - oracle.saddle(problem_of(ran.system), 0.1)) ** 2).sum(1)))
    expected = away / np.linalg.norm(oracle.saddle(problem_of(ran.system), 0.1))
    assert ran.scalars["error"][-1] == pytest.approx(expected, rel=1e-9)


def test_an_event_queue_with_a_receiver_that_overwrites_is_elsewhere():
    """The comparison sees such a difference."""
    ran = ragged()
    queue = queue_of(ran.system, overwrites=True)
    oracle.play(queue, durations(ran.system, 400), 600, OUTAGES)
    assert np.abs(np.asarray(ran.state.nodes.x) - queue.x).max() > 1e-2
    assert queue.mass_error > 1e-2


def test_no_mass_is_lost():
    ran = ragged()
    assert ran.scalars["mass_error"].max() < 1e-12
    for count in (1, 100, 300):  # the oracle's own, with messages counted one by one
        queue = queue_of(ran.system)
        oracle.play(queue, durations(ran.system, 400), count, OUTAGES)
        assert queue.mass_error < 1e-12


def test_a_receiver_that_overwrites_loses_mass(monkeypatch):
    """Messages carry one tracker each, and only the newest is read."""
    monkeypatch.setattr(_mail, "accumulated", lambda total, y: y)
    monkeypatch.setattr(
        "nigt_jax.related.async_evaluation._network.unread", lambda total, used: jnp.where(total == used, 0.0, total)
    )
    ran = run(config(**RAGGED), 60)
    assert ran.scalars["mass_error"][-1] > 1e-2
    assert ran.scalars["error"][-1] > 1e-2


def test_in_step_it_is_synchronous_push_pull():
    """Equal speeds, messages that take half a period, and whole gradients: X <- R (X - a Y), Y <- C Y + dG."""
    workers = {"count": 6, "compute_time": EVEN, "communication_time": EVEN | {"scale": 0.5}}
    method = {"gradient": "full", "step_size": 0.2}
    ran = run(config(workers=workers, method=method, problem={"samples": 32}), 40)
    problem, links = problem_of(ran.system), links_of(ran.system)
    np.testing.assert_array_equal(links, [[(i - j) % 6 in (1, 3) for j in range(6)] for i in range(6)])
    r, c = oracle.even_weights(links)
    parts = np.array_split(np.arange(32), 6)

    def gradients(x):
        return np.array([6 / 32 * sum(oracle.field(problem, p, x[i], 0.1, 1.0) for p in parts[i]) for i in range(6)])

    x = np.zeros((6, 8))
    y = g = gradients(x)
    for _ in range(40):
        x = r @ (x - 0.2 * y)
        new = gradients(x)
        y, g = c @ y + new - g, new
    np.testing.assert_allclose(ran.state.nodes.x, x, rtol=1e-12, atol=1e-14)
    assert ran.time[-1] == 40


def test_a_single_node_is_the_incremental_aggregated_gradient():
    ran = run(config(workers={"count": 1}, method={"step_size": 0.02}, wake_ups=5, problem={"samples": 7}), 9)
    problem = problem_of(ran.system)
    x, table = np.zeros(8), np.array([oracle.field(problem, p, np.zeros(8), 0.1, 1.0) for p in range(7)])
    for k in range(45):
        x = x - 0.02 * table.mean(0)
        table[k % 7] = oracle.field(problem, k % 7, x, 0.1, 1.0)
    np.testing.assert_allclose(ran.state.nodes.x[0], x, rtol=1e-12, atol=1e-14)
    assert not ran.counted.messages.any()


def test_the_error_falls_linearly_to_the_closed_form():
    """With a straggler, random times and delays; the rate is that of a line through the logarithms."""
    workers = {
        "count": 4,
        "compute_time": {"values": [5.0, 1.0, 1.0, 1.0]},
        "communication_time": {"values": [0.3, 0.0, 2.0, 0.8]},
        "noise": {"family": "exponential"},
    }
    problem = {"samples": 16, "features": 2, "discount": 0.5}
    ran = run(config(workers=workers, problem=problem, wake_ups=40, method={"step_size": 0.12}), 300)
    errors = ran.scalars["error"]
    assert errors[0] > 0.1
    assert errors[-1] < 1e-10
    assert ran.scalars["worst_error"][-1] < 1e-10
    assert ran.scalars["disagreement"][-1] < 1e-10
    answer = oracle.saddle(problem_of(ran.system), 0.1)
    np.testing.assert_allclose(ran.state.nodes.x, np.broadcast_to(answer, (4, 4)), rtol=1e-8, atol=1e-9)
    first, last = np.flatnonzero(errors < 1e-1)[0], np.flatnonzero(errors < 1e-10)[0]
    iterations = np.arange(first, last)
    slope, start = np.polyfit(iterations, np.log(errors[first:last]), 1)
    left = np.log(errors[first:last]) - (start + slope * iterations)
    assert slope < 0
    assert np.var(left) < 0.02 * np.var(np.log(errors[first:last]))
    assert ran.scalars["mass_error"].max() < 1e-12
    records = [{"iteration": k + 1} | {name: value[k] for name, value in ran.scalars.items()} for k in range(300)]
    assert fitted_rate(records, 40) == pytest.approx(np.exp(slope / 40), rel=1e-4)
    said = dict(ran.system.results(records))
    assert said["error"].startswith(f"{errors[-1]:.3g} ")
    assert said["rate"].startswith("times 0.9")
    assert "mass" in said


def test_with_a_feature_for_every_state_it_is_the_value_function():
    """Theta = (I - discount P)^-1 r, as a sum of discounted rewards gives it."""
    problem = {"kind": "tabular", "states": 4, "discount": 0.5, "regularization": 0.0}
    cfg = config(problem=problem, workers={"count": 2}, method={"step_size": 0.3}, wake_ups=40)
    ran = run(cfg, 60)
    features, difference, reward = problem_of(ran.system)
    np.testing.assert_array_equal(features, np.eye(4))
    transitions = (np.eye(4) - difference) / 0.5
    assert transitions.min() >= 0
    np.testing.assert_allclose(transitions.sum(1), 1, rtol=1e-12)
    value = sum(0.5**t * np.linalg.matrix_power(transitions, t) @ reward for t in range(60))
    np.testing.assert_allclose(ran.state.nodes.x[:, :4], np.broadcast_to(value, (2, 4)), rtol=1e-8)
    np.testing.assert_allclose(ran.system.answer, np.append(value, np.zeros(4)), atol=1e-12)


@pytest.mark.parametrize(("kept", "enough"), [(5, True), (4, False)])
def test_messages_that_were_not_kept_are_missed(kept, enough):
    """After 3.5 units of one a unit, the newest that has arrived is the fifth last."""
    slow = {"count": 3, "compute_time": EVEN, "communication_time": EVEN | {"scale": 3.5}}
    cfg = config(workers=slow, graph={"kind": "directed_ring"}, method={"kept_sends": kept}, problem={"samples": 12})
    assert AsyncEvaluation(config(workers=slow)).kept_sends >= 5
    ran = run(cfg, 12)
    if enough:
        assert ran.scalars["staleness"][-1] == 4
        queue = queue_of(ran.system)
        oracle.play(queue, np.ones((3, 20)), 36)
        np.testing.assert_allclose(ran.state.nodes.x, queue.x, rtol=1e-12, atol=1e-14)
    else:
        assert np.isinf(ran.scalars["staleness"][-1])
        assert np.isnan(ran.scalars["error"][-1])


def test_nodes_that_never_wake_up_again_stand_still():
    ran = ragged()
    assert np.isinf(ran.time[-5:]).all()
    assert not ran.counted.gradients[-5:].any()
    assert not ran.counted.messages[-5:].any()
    assert len(set(ran.scalars["error"][-6:])) == 1


def test_the_closed_form_is_that_of_the_parameters_alone():
    problem = oracle.make_problem(np.random.default_rng(0), 30, 3)
    np.testing.assert_allclose(closed_form(make_samples_of(problem), 0.2), oracle.saddle(problem, 0.2), rtol=1e-10)


def make_samples_of(problem):
    return type(make_samples(MarkovRewardProcess(), 0))(*problem)


def test_samples_are_those_of_one_trajectory():
    problem = MarkovRewardProcess(states=6, features=3, samples=50, discount=0.7)
    features, difference, reward = make_samples(problem, 1)
    following = (features - difference) / 0.7
    np.testing.assert_allclose(following[:-1], features[1:], rtol=1e-12)
    np.testing.assert_array_equal(features[:, 0], 0.5)
    rows, which = np.unique(features, axis=0, return_inverse=True)
    assert 2 < len(rows) <= 6
    for state in range(len(rows)):  # rewards are of states
        assert len(set(reward[which.ravel() == state])) == 1  # NumPy 2.0.0 gives it two axes
    assert ((reward >= 0) & (reward < 1)).all()
    other = make_samples(problem, 2)
    assert not np.array_equal(other.reward, reward)


def test_samples_are_split_as_evenly_as_they_can_be():
    first, counts = split_evenly(11, 4)
    np.testing.assert_array_equal(first, [0, 3, 6, 9])
    np.testing.assert_array_equal(counts, [3, 3, 3, 2])


@pytest.mark.parametrize(
    ("noise", "draw"),
    [
        ({"family": "exponential"}, lambda rng, n: rng.exponential(size=n)),
        ({"family": "gamma", "shape": 0.5}, lambda rng, n: rng.gamma(0.5, size=n) / 0.5),
        ({"family": "lognormal", "shape": 1.0}, lambda rng, n: rng.lognormal(-0.5, 1.0, size=n)),
        ({"family": "pareto", "shape": 1.5}, lambda rng, n: (1 + rng.pareto(1.5, size=n)) / 3),
    ],
)
def test_as_many_messages_are_kept_as_a_long_run_has_under_way(noise, draw):
    """A hundred thousand times of a node whose messages take as long as ten, twice as fast for a while."""
    workers = {
        "count": 2,
        "compute_time": EVEN,
        "communication_time": {"values": [0.0, 10.0]},
        "noise": noise,
        "speed": {"changes": [{"start": 0.0, "end": 1e5, "factor": 2.0}]},
    }
    kept = AsyncEvaluation(config(workers=workers)).kept_sends
    sent = np.cumsum(draw(np.random.default_rng(0), 100_000) / 2)
    under_way = np.arange(1, 100_001) - np.searchsorted(sent, sent - 10.0, "right")
    assert under_way.max() + 1 <= kept < 10 * under_way.max()


def test_delays_for_which_memory_is_too_small_are_refused():
    workers = {"count": 4, "compute_time": EVEN, "communication_time": EVEN | {"scale": 1e8}}
    with pytest.raises(UserError, match=r"method.kept_sends: 100,000,002 messages that each of 4 nodes keeps"):
        AsyncEvaluation(config(workers=workers))


def test_samples_that_do_not_determine_the_answer_are_refused():
    with pytest.raises(UserError, match=r"problem.samples: got 3 transitions that do not determine 4 features"):
        AsyncEvaluation(config(problem={"samples": 3}, workers={"count": 3}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"workers": {"topology": "shared-link"}}, r"workers.topology: got shared-link"),
        ({"workers": {"carry_over": True}}, r"workers.carry_over: got true"),
        ({"problem": {"samples": 5}}, r"problem.samples: got 5, allowed: one or more for each of 8 nodes"),
        ({"problem": {"kind": "tabular", "states": 7}}, r"problem.states: got 7"),
        (
            {"graph": {"kind": "offsets", "offsets": [2, 4]}},
            r"graph.offsets: got \[2, 4\], by which nothing gets from one of 8 nodes",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(sections, message):
    sections = sections | {"workers": {"count": 8} | sections.get("workers", {})}
    with pytest.raises(ValidationError, match=message):
        config(**sections)
