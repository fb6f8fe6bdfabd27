"""The cluster against plain loops in float64, its tasks against their law, and greedy against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.config.systems import CloudConfig
from nigt_jax.related.dgpg.cloud import Cloud, CloudState
from nigt_jax.related.dgpg.episodes import play, returns
from nigt_jax.related.dgpg.rivals import greedy, rivals

AGENTS = 5
SETTINGS = CloudConfig(steps=12)
CPU, MEMORY = [4.0, 8, 16, 32, 4], [8.0, 32, 128, 64, 16]  # ratios 2, 4, 8, 2, 4
CAPACITY = np.array([CPU, MEMORY]).T


def some_state(seed=0):
    rng = np.random.default_rng(seed)
    load = rng.uniform(0, 1.5, size=(AGENTS, 2)) * CAPACITY
    demand = rng.uniform(0.5, 9, size=(AGENTS, 2)) * (rng.uniform(size=(AGENTS, 1)) < 0.7)
    action = rng.integers(0, AGENTS, size=AGENTS)
    return load, demand, action


def as_state(load, demand, time=3):
    return CloudState(jnp.asarray(load, jnp.float32), jnp.asarray(demand, jnp.float32), jnp.asarray(time, jnp.int32))


def in_loops(load, demand, action):
    """Utilisation, cost and what is left, server by server."""
    x, cost, left = np.zeros((AGENTS, 2)), 0.0, np.zeros((AGENTS, 2))
    for n in range(AGENTS):
        for r in range(2):
            work = load[n][r]
            for i in range(AGENTS):
                if action[i] == n:
                    work += demand[i][r]
            x[n, r] = work / CAPACITY[n, r]
            cost += (x[n, r] ** 2 + 2 * max(x[n, r] - 1, 0)) / (2 * AGENTS)
            left[n, r] = max(work - 0.25 * CAPACITY[n, r], 0)
    return x, cost, left


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_that_of_plain_loops(seed):
    cloud, (load, demand, action) = Cloud(SETTINGS, AGENTS), some_state(seed)
    np.testing.assert_array_equal(cloud.capacity, CAPACITY)
    state, chosen = as_state(load, demand), jnp.asarray(action, jnp.int32)
    following, outcome = jax.jit(cloud.step)(state, chosen, jax.random.key(seed))
    x, cost, left = in_loops(load, demand, action)
    np.testing.assert_allclose(outcome.utilisation, x, rtol=1e-5)
    assert float(outcome.cost) == pytest.approx(cost, rel=1e-5)
    np.testing.assert_allclose(following.load, left, rtol=1e-5, atol=1e-5)
    assert int(following.time) == 4
    reference = (load.sum(0) + demand.sum(0)) / CAPACITY.sum(0)
    wanted = [
        sum((x[a, r] - reference[r]) * demand[i, r] / CAPACITY[a, r] for r in (0, 1)) for i, a in enumerate(action)
    ]
    np.testing.assert_allclose(jax.jit(cloud.guidance)(state, chosen, outcome), wanted, rtol=1e-4, atol=1e-6)


def test_influence_is_the_derivative_of_utilisation():
    """By an agent's probabilities, at those of an action; and guidance is that of half the squared distance."""
    cloud, (load, demand, action) = Cloud(SETTINGS, AGENTS), some_state()
    state, chosen = as_state(load, demand), jnp.asarray(action, jnp.int32)
    shares = jax.nn.one_hot(chosen, AGENTS)
    x = lambda shares: cloud.utilisation(state.load, state.demand, shares)
    derivative = np.asarray(jax.jit(jax.jacobian(x))(shares))  # [servers, 2, agents, servers]
    influence = np.asarray(cloud.influence(state.demand))
    for i in range(AGENTS):
        for n in range(AGENTS):
            elsewhere = np.arange(AGENTS) != n
            np.testing.assert_allclose(derivative[n, :, i, n], influence[i, n], rtol=1e-6)
            np.testing.assert_allclose(influence[i, n], demand[i] / CAPACITY[n], rtol=1e-6)
            assert not derivative[elsewhere, :, i, n].any()
    apart = lambda shares: 0.5 * jnp.sum(jnp.square(x(shares) - cloud.reference(state)[None, :]))
    slopes = jax.jit(jax.grad(apart))(shares)
    _, outcome = cloud.step(state, chosen, jax.random.key(0))
    guidance = cloud.guidance(state, chosen, outcome)
    np.testing.assert_allclose(guidance, slopes[np.arange(AGENTS), action], rtol=1e-4, atol=1e-6)


def test_influence_is_the_derivative_through_a_softmax():
    """That by the logits at probabilities p is p_a (dx/dp_a - sum_b p_b dx/dp_b): the relaxation is the same one."""
    cloud, (load, demand, action) = Cloud(SETTINGS, AGENTS), some_state(1)
    state = as_state(load, demand)
    logits = 4 * jax.nn.one_hot(jnp.asarray(action, jnp.int32), AGENTS)
    soft = lambda logits: cloud.utilisation(state.load, state.demand, jax.nn.softmax(logits))
    found = jax.jit(jax.jacobian(soft))(logits)
    p = np.exp(np.asarray(logits, np.float64))
    p /= p.sum(1, keepdims=True)
    for i in range(AGENTS):
        z = np.zeros((AGENTS, 2, AGENTS))  # what each choice of agent i adds
        for n in range(AGENTS):
            z[n, :, n] = demand[i] / CAPACITY[n]
        wanted = p[i] * (z - (z @ p[i])[..., None])
        np.testing.assert_allclose(found[:, :, i, :], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["greedy", "random"])
def test_whole_episodes_cost_what_plain_loops_say(name):
    cloud = Cloud(SETTINGS, AGENTS)
    act = rivals(cloud)[name]
    steps = jax.jit(lambda key: play(cloud, act, key))(jax.random.key(1))
    load, total = np.zeros((AGENTS, 2)), 0.0
    for t in range(SETTINGS.steps):
        np.testing.assert_allclose(steps.state.load[t], load, rtol=1e-4, atol=1e-4)
        _, cost, load = in_loops(load, np.asarray(steps.state.demand[t], np.float64), np.asarray(steps.action[t]))
        total += cost
    found = jax.jit(lambda keys: returns(cloud, act, keys))(jax.random.key(1)[None])
    assert float(found[0]) == pytest.approx(-total, rel=1e-4)


def test_tasks_do_not_depend_on_who_acts():
    cloud = Cloud(SETTINGS, AGENTS)
    first, second = (
        jax.jit(lambda key, act=act: play(cloud, act, key))(jax.random.key(2)) for act in rivals(cloud).values()
    )
    np.testing.assert_array_equal(first.state.demand, second.state.demand)
    assert (np.asarray(first.action) != np.asarray(second.action)).any()


def test_demand_is_what_the_settings_say():
    """In the mean over a wave of arrivals; the probability at its crest; the largest and the smallest task."""
    cloud = Cloud(SETTINGS, AGENTS)
    keys = jax.random.split(jax.random.key(0), 4000)
    all_times = jax.vmap(cloud.tasks, (0, None))
    demand = np.asarray(jax.jit(jax.vmap(all_times, (None, 0)))(jnp.arange(20, dtype=jnp.int32), keys), np.float64)
    arriving = demand.sum(2)  # [episodes, time, 2]
    error = arriving.mean(1).std(0) / np.sqrt(len(keys))
    np.testing.assert_array_less(np.abs(arriving.mean((0, 1)) - 0.8 * 0.25 * CAPACITY.sum(0)), 4 * error)
    share = (demand[..., 0][:, [5, 15]] > 0).mean((0, 2))
    np.testing.assert_allclose(share, [0.95, 0.45], atol=0.015)
    sizes = demand[..., 0][demand[..., 0] > 0] / cloud.task[0]
    assert sizes.min() == pytest.approx(0.5, abs=0.01)
    assert sizes.max() == pytest.approx(18, rel=1e-5)
    assert (sizes > 2).mean() == pytest.approx(0.2, abs=0.01)
    ratio = demand[..., 1][demand[..., 0] > 0] / cloud.task[1] / sizes
    np.testing.assert_allclose(np.unique(np.round(ratio, 3)), [0.5, 1.5])


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_server_that_adds_least_to_the_cost(seed):
    cloud, (load, demand, _) = Cloud(SETTINGS, AGENTS), some_state(seed)
    action, _ = jax.jit(lambda state, key: greedy(cloud, state, key))(as_state(load, demand), jax.random.key(0))
    present = load.copy()
    for i in range(AGENTS):
        costs = []
        for n in range(AGENTS):
            moved = present.copy()
            moved[n] += demand[i]
            x = moved / CAPACITY
            costs.append(np.sum(x**2 + 2 * np.maximum(x - 1, 0)))
        if demand[i].any():
            assert int(action[i]) == np.argmin(costs)
        present[action[i]] += demand[i]


def test_what_agents_and_values_are_told_of():
    """Of every server what the docstring lists; of others' tasks only the central value hears, as a mean."""
    cloud, (load, demand, _) = Cloud(SETTINGS, AGENTS), some_state(2)
    demand[1] = 3.0
    state = as_state(load, demand, 5)
    seen = jax.jit(cloud.observe)(state)
    i, n = 1, 3
    common = load.sum(0) / CAPACITY.sum(0)
    wanted = [np.log1p(load[n] / CAPACITY[n]), np.log1p(demand[i] / CAPACITY[n])]
    wanted += [np.log(CAPACITY[n] / CAPACITY.mean(0)), np.log1p(common)]
    np.testing.assert_allclose(seen[i, n], np.concatenate(wanted), rtol=1e-4, atol=1e-5)
    told = {central: np.asarray(cloud.summary(state, central)) for central in (True, False)}
    servers = np.log1p(load / CAPACITY).reshape(-1)
    shared = np.concatenate([servers, [1 - 5 / 12, np.sin(np.pi / 2), np.cos(np.pi / 2)]])
    own = np.concatenate([demand / CAPACITY.mean(0), demand[:, :1] > 0], 1)
    np.testing.assert_allclose(told[True], [[*shared, *own.mean(0)]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told[False], [[*shared, *row] for row in own], rtol=1e-4, atol=1e-5)
