"""Gradient tracking with variance reduction against NumPy, on exact problems, and its estimates by enumeration."""

import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from nigt_jax.config.systems import NetworkConfig, ReductionConfig, SvrpgTrackingConfig, TabularTask, agents
from nigt_jax.errors import UserError
from nigt_jax.related.svrpg_tracking import (
    Agents,
    Mdp,
    SvrpgTracking,
    Tabular,
    Task,
    begin_agents,
    coefficients,
    density_weights,
    estimate,
    exchange,
    random_mdp,
    weights_of,
)
from nigt_jax.related.svrpg_tracking._estimate import begin_reference
from nigt_jax.related.svrpg_tracking._network import tracker_error
from nigt_jax.related.svrpg_tracking._tabular import Episodes

KEY = jax.random.key(5)
CONFIGS = Path(__file__).parents[2] / "configs" / "related"

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(autouse=True)
def _in_64_bits():
    with jax.enable_x64(True):
        yield


def configured(count=4, tracking=True, links="ring", penalty=0.1, learning_rate=0.3, **estimator):
    """A small run; the step is large, so that weights are far from 1."""
    return SvrpgTrackingConfig(
        task=TabularTask(states=3, actions=2, horizon=4, penalty=penalty),
        estimator=ReductionConfig(**({"batch": 3, "snapshot_batch": 8, "period": 4} | estimator)),
        network=NetworkConfig(learning_rate=learning_rate, tracking=tracking, links=links),
        workers=agents(count),
    )


class Played(NamedTuple):
    """Rounds of a run; leaves have a leading axis of them."""

    task: Any
    before: Any
    after: Any
    found: Any
    trackers: Any


def run(config, task, params, rounds):
    """Estimates and exchanges, all rounds in one scan, without clock and counters: those are long to compile."""
    links = np.roll(np.eye(task.agents, dtype=bool), 1, 0)
    weights = weights_of((links | links.T) & ~np.eye(task.agents, dtype=bool))

    def one(carry, iteration):
        agents, reference = carry
        key = jax.random.fold_in(KEY, iteration)
        found = estimate(task, config.estimator, agents.params, reference, iteration, key)
        after = exchange(weights, config.network, agents, found.value)
        return (after, found.reference), (agents, after, found, tracker_error(after))

    begun = begin_agents(params), begin_reference(config.estimator, params)
    return Played(task, *jax.jit(lambda begun: jax.lax.scan(one, begun, jnp.arange(rounds))[1])(begun))


@functools.cache
def played(config):
    """Eight rounds on the process of the configuration."""
    task = Tabular(config.task, random_mdp(config.task, config.workers.count, config.seed))
    return run(config, task, task.begin(KEY), 8)


def softmax(theta):
    odds = np.exp(theta - theta.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def episode_gradient(theta, states, actions, rewards, gamma, behaviour=None, whole=False):
    """Eq. (3) at theta of one episode, which `behaviour` played, step by step, and the largest weight."""
    policy, gradient, largest = softmax(theta), np.zeros_like(theta), 0.0
    ratios = np.ones(len(states))
    if behaviour is not None:
        ratios = np.array([policy[s, a] / softmax(behaviour)[s, a] for s, a in zip(states, actions, strict=True)])
    for t, (s, a) in enumerate(zip(states, actions, strict=True)):
        follows = 0.0
        for h in range(t, len(states)):
            weight = np.prod(ratios) if whole else np.prod(ratios[: h + 1])
            follows += gamma**h * rewards[h] * weight
        score = -policy[s]
        score[a] += 1
        gradient[s] += follows * score
    for h in range(len(states)):
        largest = max(largest, np.prod(ratios) if whole else np.prod(ratios[: h + 1]))
    return gradient, largest


def ring_in_numpy(count):
    """A third each; fewer where there are fewer than three."""
    weights = np.zeros((count, count))
    for i in range(count):
        heard = {(i - 1) % count, (i + 1) % count} - {i}
        for j in heard:
            weights[i, j] = 1 / (1 + len(heard))
        weights[i, i] = 1 - weights[i].sum()
    return weights


def in_numpy(config, episodes_of_round, theta, rounds):
    """The whole algorithm, agent by agent and episode by episode; the episodes are those that were played."""
    own, net, gamma = config.estimator, config.network, config.task.discount
    count = config.workers.count
    mixing, kept = ring_in_numpy(count), None
    y, v = np.zeros_like(theta), np.zeros_like(theta)
    for k in range(rounds):
        fresh = own.reduction == "svrpg" and k % own.period == 0
        fresh = fresh or (own.reduction == "mdpgt" and k == 0)
        number = own.snapshot_batch if fresh else own.batch
        states, actions, rewards = episodes_of_round[k]
        random, most = np.zeros_like(theta), 1.0
        for i in range(count):
            for e in range(number):
                of = (states[:, i, e], actions[:, i, e], rewards[:, i, e])
                random[i] += episode_gradient(theta[i], *of, gamma)[0] / number
                if own.reduction != "none" and not fresh:
                    there, largest = episode_gradient(
                        kept[0][i], *of, gamma, behaviour=theta[i], whole=own.weights == "per_episode"
                    )
                    share = 1.0 if own.reduction == "svrpg" else 1 - own.newest_weight
                    random[i] -= share * there / number
                    most = max(most, largest)
            if own.reduction != "none" and not fresh:
                random[i] += (1.0 if own.reduction == "svrpg" else 1 - own.newest_weight) * kept[1][i]
        if fresh or own.reduction == "mdpgt":
            kept = theta.copy(), random.copy()
        new = random - config.task.penalty * theta
        y = np.einsum("ij,jsa->isa", mixing, y) + new - v if net.tracking else new
        v = new
        theta = np.einsum("ij,jsa->isa", mixing, theta) + net.learning_rate * y
        yield theta, y, v, most


CASES = {
    "svrpg": {},
    "svrpg alone": {"count": 1},
    "two agents, whole episodes, no tracking": {"count": 2, "weights": "per_episode", "tracking": False},
    "no reduction": {"reduction": "none"},
    "mdpgt": {"reduction": "mdpgt", "newest_weight": 0.3},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_algorithm_in_numpy(case):
    """Parameters, trackers, estimates and the largest weight of every round."""
    config = configured(**case)
    task, before, after, found, _ = played(config)
    episodes, play = [], jax.jit(task.play)
    for k in range(8):
        places = jnp.ones(config.estimator.most_episodes, bool)
        of = play(before.params[k], jax.random.fold_in(KEY, k), places)
        episodes.append([np.asarray(x) for x in (of.state, of.action, of.reward)])
    start = np.zeros((config.workers.count, 3, 2))
    for k, (theta, y, v, most) in enumerate(in_numpy(config, episodes, start, 8)):
        np.testing.assert_allclose(after.value[k], v, atol=1e-12)
        np.testing.assert_allclose(after.tracker[k], y, atol=1e-12)
        np.testing.assert_allclose(after.params[k], theta, atol=1e-12)
        assert found.largest_weight[k] == pytest.approx(most, rel=1e-12)
    if config.estimator.reduction != "none":
        assert found.largest_weight.max() > 1.2  # or nothing was weighted


def doubly_stochastic(count, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(7))
    return sum(share * np.eye(count)[rng.permutation(count)] for share in shares)


@pytest.mark.parametrize("row_only", [False, True])
def test_means_move_as_if_there_were_no_network(row_only):
    """By alpha times the mean estimate; where only rows sum to 1 they do not."""
    rng, network = np.random.default_rng(0), NetworkConfig(learning_rate=0.7)
    weights = doubly_stochastic(5, 1)
    if row_only:
        weights = rng.dirichlet(np.ones(5), 5)
    now = begin_agents({"a": jnp.asarray(rng.normal(size=(5, 3))), "b": jnp.asarray(rng.normal(size=(5, 2, 2)))})
    moves = jax.jit(lambda agents, value: exchange(weights, network, agents, value))
    wrong = 0.0
    for _ in range(20):
        value = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), now.params)
        after = moves(now, value)
        for name in ("a", "b"):
            mean = np.asarray(now.params[name]).mean(0) + 0.7 * np.asarray(value[name]).mean(0)
            wrong = max(wrong, np.abs(np.asarray(after.params[name]).mean(0) - mean).max())
            wrong = max(wrong, np.abs(np.asarray(after.tracker[name] - value[name]).mean(0)).max())
        now = after
    assert wrong > 0.1 if row_only else wrong < 1e-14


@pytest.mark.parametrize("case", ["svrpg", "no reduction", "mdpgt"])
def test_trackers_keep_the_mean_of_estimates(case):
    """In every round of a run; where the first trackers are not the first estimates they never do."""
    config = configured(**CASES[case])
    _, _, after, _, apart = played(config)
    mean = lambda x: np.asarray(x).mean(1)
    np.testing.assert_allclose(mean(after.tracker), mean(after.value), atol=1e-14)
    assert apart.max() < 1e-14
    ring = weights_of(np.roll(np.eye(4, dtype=bool), 1, 0) | np.roll(np.eye(4, dtype=bool), -1, 0))
    late = Agents(after.params[3], 0 * after.tracker[3], after.value[3])
    late = exchange(ring, config.network, late, after.value[4])
    wrong = np.abs(np.asarray(late.tracker - late.value).mean(0)).max()
    assert wrong > 1e-3
    assert tracker_error(late) == pytest.approx(wrong)


def test_a_snapshot_in_every_round_is_no_reduction():
    """With m = 1 all is the plain method with the large batch, to the bit."""
    _, _, always, found, _ = played(configured(period=1, snapshot_batch=6))
    _, _, plain, _, _ = played(configured(reduction="none", batch=6))
    for a, b in zip(always, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (found.largest_weight == 1).all()


class Quadratics(Task):
    """A task without episodes: agent i's objective is -1/2 (theta - b_i)' H_i (theta - b_i)."""

    agents, parameters, discount, baseline = 6, 3, 1.0, False

    def __init__(self):
        rng = np.random.default_rng(3)
        turned = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(6)]
        self.curvature = np.stack([q @ np.diag(rng.uniform(0.5, 1.5, 3)) @ q.T for q in turned])
        self.optima = rng.normal(size=(6, 3))

    def play(self, params, key, there):
        del params, key
        return there

    def steps(self, episodes):
        del episodes
        return jnp.zeros([], jnp.int32)

    def rewards(self, episodes):
        return jnp.zeros((1, 6, episodes.size))

    def log_ratio(self, params, others, episodes):
        del params, others
        return jnp.zeros((1, 6, episodes.size))

    def score_sum(self, params, episodes, factors):
        del episodes, factors
        return jnp.zeros_like(params)

    def deterministic(self, params):
        return jnp.einsum("nij,nj->ni", self.curvature, self.optima - params)


def quadratic_iterates(tracking, rounds):
    task = Quadratics()
    config = configured(count=6, tracking=tracking, learning_rate=0.1)
    return task, np.asarray(run(config, task, jnp.zeros((6, 3)), rounds).after.params)


def test_tracking_finds_the_common_optimum_at_the_rate_of_its_matrix():
    """The rate is that of the linear recursion in (theta, y), whose matrix is written out here."""
    task, iterates = quadratic_iterates(True, 400)
    best = np.linalg.solve(task.curvature.sum(0), np.einsum("nij,nj->i", task.curvature, task.optima))
    error = np.linalg.norm(iterates - best, axis=(1, 2))
    mixing = np.kron(ring_in_numpy(6), np.eye(3))
    slopes = np.zeros((18, 18))
    for i in range(6):
        slopes[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = -task.curvature[i]
    step = np.block([[mixing, 0.1 * np.eye(18)], [slopes @ (mixing - np.eye(18)), mixing + 0.1 * slopes]])
    moduli = np.sort(np.abs(np.linalg.eigvals(step)))
    rate = moduli[moduli < 1 - 1e-9].max()  # the sum of the trackers less that of the slopes never changes
    assert 0.85 < rate < 0.95
    assert (error[200] / error[100]) ** (1 / 100) == pytest.approx(rate, abs=5e-3)
    assert error[-1] < 1e-14


def test_without_tracking_agents_stall_where_slopes_and_mixing_balance():
    task, iterates = quadratic_iterates(False, 400)
    best = np.linalg.solve(task.curvature.sum(0), np.einsum("nij,nj->i", task.curvature, task.optima))
    pull = np.kron(np.eye(6) - ring_in_numpy(6), np.eye(3))
    toward = np.einsum("nij,nj->ni", task.curvature, task.optima).reshape(-1)
    for i in range(6):
        pull[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] += 0.1 * task.curvature[i]
    stuck = np.linalg.solve(pull, 0.1 * toward).reshape(6, 3)
    np.testing.assert_allclose(iterates[-1], stuck, atol=1e-12)
    assert np.linalg.norm(iterates[-1] - best) > 0.1


STATES, ACTIONS, HORIZON, GAMMA = 2, 2, 3, 0.9
RNG = np.random.default_rng(8)
MDP = Mdp(
    np.array([0.3, 0.7]), RNG.dirichlet(np.ones(STATES), (STATES, ACTIONS)), RNG.normal(size=(1, STATES, ACTIONS))
)
HERE, THERE = RNG.normal(size=(2, STATES, ACTIONS))


def every_episode(theta):
    """All there are, and their probabilities: states, actions, rewards of shape [time, episodes]."""
    policy, rows, chances = softmax(theta), [], []
    for path in itertools.product(*[range(STATES), range(ACTIONS)] * HORIZON):
        states, actions = path[::2], path[1::2]
        chance = MDP.start[states[0]]
        for t in range(HORIZON):
            chance *= policy[states[t], actions[t]]
            if t + 1 < HORIZON:
                chance *= MDP.transition[states[t], actions[t], states[t + 1]]
        rows.append((states, actions, [MDP.rewards[0, s, a] for s, a in zip(states, actions, strict=True)]))
        chances.append(chance)
    states, actions, rewards = (np.array(x).T for x in zip(*rows, strict=True))
    return states, actions, rewards, np.array(chances)


def expected_return(theta):
    _, _, rewards, chances = every_episode(theta)
    return chances @ (GAMMA ** np.arange(HORIZON) @ rewards)


def slope(function, theta, width=1e-5):
    """Central differences."""
    found = np.zeros_like(theta)
    for at in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[at] = width
        found[at] = (function(theta + step) - function(theta - step)) / (2 * width)
    return found


def scores(theta, states, actions):
    """Of each step; shape [time, episodes, states, actions]."""
    out = np.zeros((*states.shape, STATES, ACTIONS))
    for at in np.ndindex(states.shape):
        out[at][states[at]] = -softmax(theta)[states[at]]
        out[at][states[at], actions[at]] += 1
    return out


def enumerated(per_decision=True, weighted=True):
    """What the library makes of each episode of HERE, for THERE: gradients [episodes, states, actions]; and chances."""
    states, actions, rewards, chances = every_episode(HERE)
    logs = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    weights, *_ = density_weights(jnp.asarray(logs)[:, None], per_decision, None)
    factors = coefficients(
        jnp.asarray(rewards)[:, None], weights if weighted else None, jnp.ones(64, bool), GAMMA, False
    )
    return np.einsum("te,tesa->esa", factors[:, 0], scores(THERE, states, actions)), chances


@pytest.mark.parametrize(("per_decision", "weighted"), [(True, True), (False, True), (True, False)])
def test_weighted_gradients_are_without_bias(per_decision, weighted):
    """The expectation over all episodes of one policy is the slope of the return at the other; not without weights."""
    gradients, chances = enumerated(per_decision, weighted)
    assert chances.sum() == pytest.approx(1)
    bias = np.einsum("e,esa->sa", chances, gradients) - slope(expected_return, THERE)
    assert np.abs(bias).max() < 1e-9 if weighted else np.abs(bias).max() > 0.05


def test_weights_of_decisions_have_less_variance_than_those_of_episodes():
    spread = []
    for per_decision in (True, False):
        gradients, chances = enumerated(per_decision)
        mean = np.einsum("e,esa->sa", chances, gradients)
        spread.append(chances @ np.square(gradients - mean).sum((1, 2)))
    assert spread[0] < 0.9 * spread[1]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_baseline_of_other_episodes_is_without_bias(wrong):
    """Over all pairs of episodes; where the baseline is not weighted with the decisions before it, it is biased."""
    states, actions, rewards, chances = every_episode(HERE)
    logs = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    pairs = np.array(list(itertools.product(range(64), repeat=2)))
    weights = np.exp(np.cumsum(logs, 0))[:, pairs]
    of = lambda rewards, weights: np.asarray(
        coefficients(jnp.asarray(rewards), weights, jnp.ones(2, bool), GAMMA, True)
    )
    factors = of(rewards[:, pairs] * weights, None) if wrong else of(rewards[:, pairs], jnp.asarray(weights))
    without = np.asarray(
        coefficients(jnp.asarray(rewards[:, pairs]), jnp.asarray(weights), jnp.ones(2, bool), GAMMA, False)
    )
    assert np.abs(factors - without).max() > 0.1
    both = chances[pairs[:, 0]] * chances[pairs[:, 1]]
    gradient = np.einsum("p,tpe,tpesa->sa", both / 2, factors, scores(THERE, states, actions)[:, pairs])
    bias = np.abs(gradient - slope(expected_return, THERE)).max()
    assert bias > 1e-3 if wrong else bias < 1e-9


def test_the_library_scores_and_weighs_as_the_tables_say():
    """Its own sums of scores and ratios, on all episodes, are those of NumPy."""
    states, actions, rewards, _ = every_episode(HERE)
    task = Tabular(TabularTask(states=STATES, actions=ACTIONS, horizon=HORIZON, discount=GAMMA, penalty=0.2), MDP)
    episodes = Episodes(*(jnp.asarray(x)[:, None] for x in (states, actions, rewards)), jnp.ones(64, bool))
    factors = RNG.normal(size=(HORIZON, 1, 64))
    found = task.score_sum(jnp.asarray(THERE)[None], episodes, jnp.asarray(factors))
    wanted = np.einsum("te,tesa->sa", factors[:, 0], scores(THERE, states, actions))
    np.testing.assert_allclose(found[0], wanted, atol=1e-12)
    ratio = task.log_ratio(jnp.asarray(HERE)[None], jnp.asarray(THERE)[None], episodes)
    wanted = np.log(softmax(THERE))[states, actions] - np.log(softmax(HERE))[states, actions]
    np.testing.assert_allclose(ratio[:, 0], wanted, atol=1e-12)
    gradient = slope(lambda x: expected_return(x) - 0.1 * np.sum(x**2), THERE)
    exactly = jax.jit(lambda own: task.evaluate(own) | task.measures(own))(jnp.asarray(THERE))
    assert exactly["return_mean"] == pytest.approx(expected_return(THERE), rel=1e-12)
    assert exactly["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-7)


def test_episodes_are_drawn_as_the_process_says():
    """How often each of the 64 episodes comes, among 100,000: within 5 deviations."""
    task = Tabular(TabularTask(states=STATES, actions=ACTIONS, horizon=HORIZON), MDP)
    number = 100_000
    of = jax.jit(task.play)(jnp.asarray(HERE)[None], jax.random.key(1), jnp.ones(number, bool))
    states, actions, _, chances = every_episode(HERE)
    code = lambda s, a: sum((s[t] * ACTIONS + a[t]) * 4**t for t in range(HORIZON))
    seen = np.bincount(code(np.asarray(of.state)[:, 0], np.asarray(of.action)[:, 0]), minlength=64)
    wanted = chances[np.argsort(code(states, actions))]
    assert (np.abs(seen - number * wanted) < 5 * np.sqrt(number * wanted * (1 - wanted)) + 1).all()
    np.testing.assert_array_equal(of.reward[:, 0], MDP.rewards[0][np.asarray(of.state), np.asarray(of.action)][:, 0])


def test_a_penalty_is_not_weighted():
    """Where nothing is earned, parameters shrink as if there were no episodes, whatever their weights are."""
    config = configured(count=1)
    mdp = Mdp(np.full(3, 1 / 3), RNG.dirichlet(np.ones(3), (3, 2)), np.zeros((1, 3, 2)))
    start = RNG.normal(size=(1, 3, 2))
    _, _, after, found, _ = run(config, Tabular(config.task, mdp), jnp.asarray(start), 6)
    assert found.largest_weight.max() > 1.05
    np.testing.assert_allclose(after.params[-1], start * (1 - 0.3 * 0.1) ** 6, rtol=1e-12)


def test_weights_that_are_too_large_are_counted():
    logs = np.log([[[2.0, 0.5]], [[3.0, 1.0]], [[0.1, 8.0]]])
    weights, largest, capped = density_weights(jnp.asarray(logs), True, 2.5)
    np.testing.assert_allclose(weights[:, 0], [[2, 0.5], [2.5, 0.5], [0.6, 2.5]])
    assert largest == pytest.approx(6)
    assert capped == 2
    weights, largest, capped = density_weights(jnp.asarray(logs), False, None)
    np.testing.assert_allclose(weights[:, 0], [[0.6, 4]] * 3)
    assert largest == pytest.approx(4)
    assert capped == 0


@functools.cache
def stepped(config):
    """The whole system: states before and after, what was counted, and the records' numbers, of eight rounds."""
    system = SvrpgTracking(config)

    def one(state, _):
        after, counted, scalars = system.step(state)
        return after, (state, after, counted, scalars)

    rounds = jax.jit(lambda state: jax.lax.scan(one, state, length=8)[1])
    return system, *rounds(system.begin(jax.random.key(5)))


def test_the_system_is_these_rounds():
    """From its state alone, at any time: estimate, then exchange."""
    config = configured()
    system, before, after, _, scalars = stepped(config)
    played_again = estimate_and_exchange(config, system, jax.tree.map(lambda x: x[5], before))
    for a, b in zip(jax.tree.leaves(played_again[0]), jax.tree.leaves(after.agents), strict=True):
        np.testing.assert_allclose(a, b[5], atol=1e-14)
    assert scalars["largest_weight"][5] == played_again[1].largest_weight
    mean = np.asarray(after.agents.params[5])
    apart = np.square(mean - mean.mean(0)).sum((1, 2)).mean()
    assert scalars["disagreement"][5] == pytest.approx(apart, rel=1e-12)


def estimate_and_exchange(config, system, state):
    key = jax.random.fold_in(state.key, state.iteration)
    find = jax.jit(lambda *of: estimate(system.task, config.estimator, *of))
    found = find(state.agents.params, state.reference, state.iteration, key)
    ring = np.roll(np.eye(4, dtype=bool), 1, 0)
    return exchange(weights_of(ring | ring.T), config.network, state.agents, found.value), found


def test_rounds_take_as_long_as_their_episodes_and_are_counted():
    _, _, after, counted, scalars = stepped(configured())
    each = np.array([8, 3, 3, 3, 8, 3, 3, 3])
    np.testing.assert_array_equal(scalars["trajectories"], each)
    np.testing.assert_array_equal(counted.gradients, 4 * each)
    assert {x.dtype.name for x in counted[:4]} == {"int32"}
    np.testing.assert_array_equal(counted.env_steps, 4 * 4 * each)
    np.testing.assert_array_equal(counted.messages, 8)
    np.testing.assert_array_equal(counted.numbers, 8 * 2 * 6)
    np.testing.assert_allclose(counted.time.high, np.cumsum(each))
    assert after.iteration[-1] == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": {"count": 3, "environments": [{"workers": [1], "gravity": 2.0}]}}, r"workers\.environments"),
        ({"task": {"kind": "brax"}, "estimator": {"batch": 1}}, r"estimator\.batch: got 1 .* 2 or more"),
        ({"task": {"kind": "brax", "environment": "swimmer"}}, r"task\.backend: got spring, allowed with swimmer"),
        ({"task": {"kind": "gym"}}, "task"),
        ({"task": {"kind": "brax", "states": 3}}, "states"),
        ({"task": {"horizon": 10_000, "kind": "tabular"}, "estimator": {"batch": 1_000_000}}, "up to 1,000,000,000"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        SvrpgTrackingConfig(**given)


@pytest.mark.parametrize("name", ["svrpg_tracking", "svrpg_tracking_reacher"])
def test_configurations_to_run_are_allowed(name):
    given = YAML(typ="safe").load(CONFIGS / f"{name}.yaml")
    assert SvrpgTrackingConfig(**given).system == given["system"]


def test_a_graph_in_two_parts_is_refused():
    with pytest.raises(UserError, match="agent"):
        weights_of(np.kron(np.eye(2, dtype=bool), ~np.eye(2, dtype=bool)))


def test_a_person_is_told_what_came_of_it():
    system, _, after, _, scalars = stepped(configured())
    record = {name: float(value[-1]) for name, value in scalars.items()}
    record |= {name: float(value) for name, value in system.evaluate(jax.tree.map(lambda x: x[-1], after)).items()}
    lines = dict(system.results([{"iteration": 0, "return_mean": 1.0}, record]))
    assert set(lines) == {"return", "gradient", "disagreement", "weights", "spent"}
    assert lines["spent"] == "3 trajectories of each agent, 1 rounds"
    assert lines["return"].startswith("1 at first")
    assert system.headline in record
