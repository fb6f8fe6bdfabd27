"""Access points and radio links against plain Python, their learners against NumPy, and what they are compared with."""

import itertools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML

from nigt_jax.config.systems import (
    AccessMethod,
    AccessNetwork,
    PowerLinks,
    PowerMethod,
    RecMarlAccessConfig,
    RecMarlPowerConfig,
    agents,
)
from nigt_jax.related.rec_marl import RecMarlAccess, RecMarlPower
from nigt_jax.related.rec_marl.access import access_model, aloha, make_points
from nigt_jax.related.rec_marl.model import play, softmax_policies
from nigt_jax.related.rec_marl.power import make_radio, power_model, straight_to
from nigt_jax.related.rec_marl.tables import make_tables

pytestmark = pytest.mark.usefixtures("in_64_bits")


NETWORKS = [AccessNetwork(), AccessNetwork(points=2, users_per_point=2, deadline=3), AccessNetwork(points=1)]


def small_access(critics="neighbours", **method):
    """Five users of two points."""
    section = AccessMethod(critics=critics, episodes=24, horizon=4, **method)
    return RecMarlAccessConfig(access=AccessNetwork(points=2), workers=agents(5), method=section, seed=1)


def small_power(critics="neighbours", links=3, graph="line", **method):
    """Links of three levels."""
    section = PowerMethod(critics=critics, episodes=24, horizon=4, **method)
    return RecMarlPowerConfig(power=PowerLinks(levels=3, graph=graph), workers=agents(links), method=section, seed=1)


def points_by_hand(network):
    """Point j serves the users from j m to (j + 1) m."""
    m = network.users_per_point - 1
    return [list(range(j * m, (j + 1) * m + 1)) for j in range(network.points)]


@pytest.mark.parametrize("network", NETWORKS)
def test_deliveries_are_those_of_a_loop(network):
    points = make_points(network, np.random.default_rng(0))
    model, served = access_model(network, points), points_by_hand(network)
    rng = np.random.default_rng(1)
    states = rng.integers(0, 2**network.deadline, (300, network.users)).astype(np.int32)
    actions = rng.integers(0, model.actions, states.shape).astype(np.int32)
    found = jax.jit(jax.vmap(model.reward))(states, actions)
    wanted = np.zeros_like(found)
    for case, (state, action) in enumerate(zip(states, actions, strict=True)):
        heard = {j: [] for j in range(network.points)}
        for user in range(network.users):
            own = [j for j, users in enumerate(served) if user in users]
            if action[user] and state[user]:
                heard[own[action[user] - 1]].append(user)
        for j, senders in heard.items():
            if len(senders) == 1:
                wanted[case, senders[0]] = points.reliability[j]
    assert (wanted > 0).any()
    np.testing.assert_array_equal(found, wanted)
    assert model.actions.tolist() == [1 + sum(user in users for users in served) for user in range(network.users)]


@pytest.mark.parametrize("network", NETWORKS)
def test_packets_move_as_in_a_loop(network):
    """A list of booleans, of which the first is the packet that expires in this step."""
    model = access_model(network, make_points(network, np.random.default_rng(0)))
    number = lambda bits: sum(2**d for d, bit in enumerate(bits) if bit)
    for bits in itertools.product([False, True], repeat=network.deadline):
        for action in range(model.kernel.shape[2]):
            queue = list(bits)
            if action and any(queue):
                queue[queue.index(True)] = False
            wanted = np.zeros(2**network.deadline)
            for arrives, probability in ((True, network.arrival), (False, 1 - network.arrival)):
                wanted[number([*queue[1:], arrives])] += probability
            for user in range(network.users):
                np.testing.assert_allclose(model.kernel[user, number(bits), action], wanted, atol=1e-15)
    wanted = np.zeros(2**network.deadline)
    wanted[0] = 1 - network.arrival
    wanted[number([False] * (network.deadline - 1) + [True])] += network.arrival
    np.testing.assert_allclose(model.first, np.broadcast_to(wanted, model.first.shape))


@pytest.mark.parametrize("network", NETWORKS)
def test_users_are_neighbours_where_they_share_a_point(network):
    model, served = access_model(network, make_points(network, np.random.default_rng(0))), points_by_hand(network)
    for i, k in np.ndindex(*model.neighbours.shape):
        assert model.neighbours[i, k] == any(i in users and k in users for users in served)
    assert network.table_entries == make_tables(model).entries


@pytest.mark.parametrize(("graph", "links"), [("line", 4), ("ring", 5), ("ring", 2), ("complete", 3), ("line", 1)])
def test_utilities_are_those_of_a_loop(graph, links):
    section = PowerLinks(graph=graph, levels=4)
    radio = make_radio(section, links, np.random.default_rng(0))
    model = power_model(radio)
    apart = lambda i, k: min(abs(i - k), links - abs(i - k)) if graph == "ring" else abs(i - k)
    near = [[k for k in range(links) if graph == "complete" or apart(i, k) <= 1] for i in range(links)]
    states = np.random.default_rng(1).integers(0, 4, (50, links)).astype(np.int32)
    found = jax.jit(jax.vmap(model.reward))(states, np.zeros_like(states))
    for case, levels in enumerate(states):
        for i in range(links):
            p = [level / 3 for level in levels]
            disturbing = sum(radio.gains[i, k] * p[k] for k in near[i] if k != i)
            wanted = math.log(1 + radio.gains[i, i] * p[i] / (0.1 + disturbing)) - radio.prices[i] * p[i]
            assert found[case, i] == pytest.approx(wanted, abs=1e-14)
            assert set(np.flatnonzero(model.neighbours[i])) == set(near[i])
    assert section.table_entries(links) == make_tables(model).entries == sum(12 ** len(members) for members in near)
    for level, action in itertools.product(range(4), range(3)):
        following = max(0, min(3, level + (-1, 0, 1)[action]))
        assert model.kernel[:, level, action, following].tolist() == [1.0] * links


@pytest.mark.parametrize("graph", ["line", "ring"])
def test_the_search_finds_what_trying_in_python_finds(graph):
    system = RecMarlPower(small_power(links=4, graph=graph))
    reward = jax.jit(jax.vmap(system.model.reward))
    joint = np.array(list(itertools.product(range(3), repeat=4)), np.int32)
    mean = {tuple(p): u for p, u in zip(joint.tolist(), np.asarray(reward(joint, joint * 0)), strict=True)}
    best = max(mean, key=lambda p: mean[p].mean())
    settled = [
        p for p in mean if all(mean[p][i] >= mean[(*p[:i], x, *p[i + 1 :])][i] for i in range(4) for x in range(3))
    ]
    assert tuple(system.search.best.levels) == best
    assert system.search.best.value == pytest.approx(mean[best].mean(), abs=1e-14)
    assert sorted(tuple(e.levels) for e in system.search.equilibria) == sorted(settled)
    assert settled
    assert system.selfish < system.best


def test_going_straight_to_levels_takes_the_shortest_way():
    target = np.array([0, 2, 4])
    policies = straight_to(target, 5)
    for link, start in itertools.product(range(3), range(5)):
        level = start
        for _ in range(abs(start - target[link])):
            assert level != target[link]
            level += int(policies[link, level].argmax()) - 1
        assert policies[link, level].tolist() == [0, 1, 0]


def test_the_worth_of_aloha_is_what_a_simulation_gives():
    """Episodes in NumPy, all at once, with draws of their own."""
    config = small_access()
    system, network = RecMarlAccess(config), config.access
    points = make_points(network, np.random.default_rng(config.seed))
    send, served, rng, episodes = 0.55, points_by_hand(network), np.random.default_rng(5), 40_000
    weights = np.zeros((5, 2))
    for j, users in enumerate(served):
        weights[users, j] = points.reliability[j] / len(users)
    weights /= weights.sum(1, keepdims=True)
    assert sorted(map(len, network.points_of)) == [1, 1, 1, 1, 2]
    packets = np.zeros((episodes, 5, 2), bool)
    packets[..., 1] = rng.random((episodes, 5)) < network.arrival
    returns = np.zeros(episodes)
    for t in range(4):
        sends = packets.any(-1) & (rng.random((episodes, 5)) < send)
        where = (rng.random((episodes, 5)) >= weights[:, 0]).astype(int)
        for j in range(2):
            alone = (sends & (where == j)).sum(1) == 1
            returns += 0.7**t * (alone & (rng.random(episodes) < points.reliability[j])) / 5
        first = packets.argmax(-1)
        e, i = np.nonzero(sends)
        packets[e, i, first[e, i]] = False
        packets = np.stack([packets[..., 1], rng.random((episodes, 5)) < network.arrival], axis=-1)
    exact = jax.jit(lambda p: system.worth(aloha(points, 4, p)))
    assert exact(jnp.float64(send)) == pytest.approx(returns.mean(), abs=5 * returns.std() / np.sqrt(episodes))
    tried = [float(exact(jnp.float64(k / 20))) for k in range(1, 21)]
    assert system.aloha.value == pytest.approx(max(tried), abs=1e-14)
    assert system.aloha.send == pytest.approx((1 + int(np.argmax(tried))) / 20)


def in_numpy(system, logits, values, played, iteration):
    """An iteration on these episodes: a dictionary for every agent's critic, loops over episodes, steps and agents."""
    method, model = system.config.method, system.model
    states, actions, rewards = map(np.asarray, played)
    n, (number, horizon) = model.agents, rewards.shape[:2]
    near = [np.flatnonzero(model.neighbours[i]) for i in range(n)]
    seen = lambda i, e, t: (*states[e, t, near[i]], *actions[e, t, near[i]])
    critic_step = method.critic_step / np.sqrt(1 + iteration / method.critic_decay)
    for i in range(n):
        errors = {}
        for e, t in np.ndindex(number, horizon):
            now, then = values[i].get(seen(i, e, t), 0.0), values[i].get(seen(i, e, t + 1), 0.0)
            errors.setdefault(seen(i, e, t), []).append(rewards[e, t, i] + method.discount * then - now)
        for z, of_it in errors.items():
            values[i][z] = values[i].get(z, 0.0) + critic_step * np.mean(of_it)
    heard = {"neighbours": near, "own": [[i] for i in range(n)], "all": [range(n)] * n}[method.critics]
    climbed = np.zeros((number, horizon, n))
    for e, t, i in np.ndindex(*climbed.shape):
        climbed[e, t, i] = sum(values[k][seen(k, e, t)] for k in heard[i]) / n
    actor_step = method.actor_step / np.sqrt(1 + iteration / method.actor_decay)
    after = logits.copy()
    for i in range(n):
        has = int(model.actions[i])
        policy = np.exp(logits[i, :, :has]) / np.exp(logits[i, :, :has]).sum(-1, keepdims=True)
        for e, t in np.ndindex(number, horizon):
            s, a = states[e, t, i], actions[e, t, i]
            weight = method.discount**t * (climbed[e, t, i] - climbed[:, t, i].mean()) / number
            after[i, s, :has] += actor_step * weight * ((np.arange(has) == a) - policy[s])
    return after


@pytest.mark.parametrize(
    ("made", "critics"),
    [
        (small_access, "neighbours"),
        (small_power, "all"),
        pytest.param(small_access, "own", marks=pytest.mark.slow),
        pytest.param(small_power, "neighbours", marks=pytest.mark.slow),
    ],
)
def test_compiled_iterations_are_those_of_numpy(made, critics):
    config = made(critics, actor_decay=3.0, critic_decay=2.0)
    system = (RecMarlAccess if made is small_access else RecMarlPower)(config)

    def with_episodes(state):
        policies = softmax_policies(state.logits, system.model.allowed)
        key = jax.random.split(state.key)[0]
        return *system.step(state), play(system.model, key, policies, config.method.episodes, config.method.horizon)

    step = jax.jit(with_episodes)
    state = system.begin(jax.random.key(0))
    logits, values = np.zeros(state.logits.shape), [{} for _ in range(system.model.agents)]
    for iteration in range(4):
        state, counted, scalars, played = step(state)
        logits = in_numpy(system, logits, values, jax.device_get(played), iteration)
        np.testing.assert_allclose(state.logits, logits, atol=1e-12)
    for i in range(system.model.agents):
        size = math.prod(system.tables.shape(i))
        own = np.asarray(state.values)[system.tables.offsets[i] :][:size]
        np.testing.assert_allclose(np.sort(own[own != 0]), np.sort([v for v in values[i].values() if v]), atol=1e-12)
    assert np.isfinite([float(x) for x in scalars.values()]).all()
    n, links = system.model.agents, int(system.model.neighbours.sum()) - system.model.agents
    heard = {"neighbours": links, "own": 0, "all": n * (n - 1)}[critics]
    assert int(counted.messages) == 24 * (5 * links + 4 * heard)
    assert int(counted.numbers) == 24 * (10 * links + 4 * heard)
    assert int(counted.env_steps) == 24 * 4 * n


@pytest.mark.parametrize("made", [small_access, small_power])
def test_what_is_sampled_has_the_expectation_that_evaluations_compute(made):
    system = (RecMarlAccess if made is small_access else RecMarlPower)(made())
    logits = jax.random.normal(jax.random.key(1), system.begin(jax.random.key(0)).logits.shape)
    policies = softmax_policies(logits, system.model.allowed)
    rewards = jax.jit(lambda key: play(system.model, key, policies, 20_000, 4))(jax.random.key(2)).rewards
    rewards = np.asarray(rewards).mean(-1)
    error = rewards.std(0) / np.sqrt(20_000)
    expected = np.asarray(jax.jit(system.rewards)(policies))
    assert (np.abs(rewards.mean(0) - expected) < 5 * error).all()
    found = jax.jit(system.evaluate)(system.begin(jax.random.key(0))._replace(logits=logits))
    weights = system.config.method.discount ** np.arange(4)
    assert found["return_mean"] == pytest.approx(expected @ weights, abs=1e-13)
    assert found["reward_last"] == pytest.approx(expected[-1], abs=1e-13)


def test_a_run_in_parts_is_the_run():
    """What a state holds is all that going on needs; nobody does what it cannot."""
    system = RecMarlAccess(small_access())

    @jax.jit
    def run(state, steps):
        return jax.lax.fori_loop(0, steps, lambda _, state: system.step(state)[0], state)

    begin = system.begin(jax.random.key(7))
    whole, parts = run(begin, 4), run(run(begin, 2), 2)
    np.testing.assert_array_equal(whole.logits, parts.logits)
    np.testing.assert_array_equal(whole.values, parts.values)
    assert int(whole.iteration) == 4
    assert float(whole.clock.now.high) == 4.0
    assert np.asarray(whole.logits[0])[:, 2].tolist() == [0.0] * 4  # the first user has one point
    assert (np.asarray(whole.logits[2]) != 0).any()


def test_results_say_how_a_run_compares():
    access, power = RecMarlAccess(small_access()), RecMarlPower(small_power())
    reached = {"return_mean": 1.1 * access.aloha.value, "reward_last": 0.1}
    assert "10.0% above the best ALOHA" in dict(access.results([reached]))["return"]
    reached["return_mean"] = 0.8 * access.aloha.value
    assert "20.0% below the best ALOHA" in dict(access.results([reached]))["return"]
    lines = dict(power.results([{"return_mean": 0.97 * power.best, "reward_last": 0.5}]))
    assert "97.0%" in lines["brute force"]
    assert re.match(rf"{power.selfish:.4f}, .* 1 in all", lines["equilibrium"])


ACCESS, POWER = RecMarlAccessConfig, RecMarlPowerConfig
WRONG = [
    (ACCESS, {"workers": agents(8)}, r"workers.count: got 8, allowed with access.points 4 .*: 9"),
    (
        ACCESS,
        {"access": AccessNetwork(points=3, users_per_point=5), "workers": agents(13)},
        r"access: got critics of 604,594,176 entries, allowed: 10,000,000",
    ),
    (
        ACCESS,
        {"access": AccessNetwork(points=2, users_per_point=20), "workers": agents(39)},
        r"access: got critics of about 10\^3\d entries",
    ),
    (
        ACCESS,
        {"access": AccessNetwork(least_reliability=0.9, most_reliability=0.8)},
        r"access.least_reliability: got 0.9, allowed: up to access.most_reliability, 0.8",
    ),
    (ACCESS, {"method": AccessMethod(episodes=1_000_000)}, r"method.episodes: got 1,000,000, allowed with 9 agents"),
    (POWER, {"workers": agents(11)}, r"workers.count: got 11, allowed with power.levels 5: up to 10"),
    (POWER, {"power": PowerLinks(graph="complete"), "workers": agents(6)}, r"power: got critics of 68,343,750 entries"),
    (POWER, {"power": PowerLinks(least_price=0.5)}, r"power.least_price: got 0.5"),
    (POWER, {"method": PowerMethod(horizon=1_000_000)}, r"method.episodes: got 128, allowed with 8 agents"),
]


@pytest.mark.parametrize(("kind", "given", "message"), WRONG)
def test_what_cannot_be_is_refused_with_what_can(kind, given, message):
    with pytest.raises(ValidationError, match=message):
        kind(**given)


@pytest.mark.slow  # minutes of learning
@pytest.mark.parametrize("seed", [0, 1])
def test_the_claims_hold(seed):
    """Neighbours' critics beat the best ALOHA, which beats selfish users; selfish links shout."""

    def reached(system):
        state, evaluate = system.begin(jax.random.key(seed)), jax.jit(system.evaluate)
        length = system.config.training.iterations
        state = jax.jit(lambda s: jax.lax.scan(lambda s, _: (system.step(s)[0], None), s, None, length=length)[0])(
            state
        )
        return {key: float(value) for key, value in evaluate(state).items()}

    access = {c: RecMarlAccess(ACCESS(seed=seed, method=AccessMethod(critics=c))) for c in ("neighbours", "own")}
    found = {critics: reached(system)["return_mean"] for critics, system in access.items()}
    aloha = access["own"].aloha.value
    assert found["neighbours"] > 1.2 * aloha
    assert found["own"] < aloha
    power = {c: RecMarlPower(POWER(seed=seed, method=PowerMethod(critics=c))) for c in ("neighbours", "own")}
    both = {critics: reached(system) for critics, system in power.items()}
    assert both["neighbours"]["return_mean"] > 0.97 * power["own"].best
    assert both["own"]["return_mean"] == pytest.approx(power["own"].selfish, rel=0.03)
    assert both["own"]["reward_last"] == pytest.approx(power["own"].search.equilibria[0].value, rel=0.03)


@pytest.mark.parametrize("kind", [ACCESS, POWER])
def test_the_files_of_settings_are_the_defaults(kind):
    """So that what the documents measure is what a configuration says by default."""
    default = kind()
    path = Path(__file__).parents[2] / "configs" / "related" / f"{default.system}.yaml"
    assert TypeAdapter(kind).validate_python(YAML(typ="safe").load(path)) == default
