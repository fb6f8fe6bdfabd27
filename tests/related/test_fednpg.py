"""FedNPG and FedNAC against loops in NumPy, and the closed forms of a bandit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.config import check_system
from nigt_jax.related import graph, make_system
from nigt_jax.related.fednpg import (
    Linear,
    Sample,
    World,
    action_values,
    begin_softmax,
    draw_sample,
    grid_world,
    learnt,
    linear_step,
    log_linear,
    optimum,
    softmax_step,
    state_values,
)

pytestmark = pytest.mark.usefixtures("in_64_bits")
RING = 0.5 * (np.eye(6) + graph.directed_ring(6))


def made_up(agents=6, states=5, actions=4, discount=0.9, seed=0):
    """A world with random transitions and rewards."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states), size=(states, actions))
    rewards = rng.uniform(size=(agents, states, actions))
    start = rng.dirichlet(np.ones(states))
    return World(*map(jnp.asarray, (transitions, rewards, start, np.float64(discount))))


def normalised(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def values_by_loops(world, reward, log_policy, entropy):
    """Action values by iterating the Bellman equation until nothing changes."""
    transitions, policy, value = np.asarray(world.transitions), np.exp(log_policy), np.zeros(len(log_policy))
    for _ in range(2000):
        values = reward + float(world.discount) * transitions @ value
        value = (policy * (values - entropy * log_policy)).sum(1)
    return values


def iterations(world, log_policy, weights, rate, entropy, number, tracking=True):
    """The logarithms of the policies after so many iterations, and the state."""
    entropy, weights, rate = (jnp.asarray(x) for x in (np.float64(entropy), weights, np.float64(rate)))
    step = jax.jit(functools.partial(softmax_step, tracking=tracking))
    state = begin_softmax(world, jnp.asarray(log_policy), entropy)
    for _ in range(number):
        state = step(state, world, weights, rate, entropy)
    return np.asarray(state.log_policy), state


@pytest.mark.parametrize("entropy", [0.0, 0.05])
def test_values_solve_the_bellman_equation(entropy):
    world = made_up()
    log_policy = normalised(np.random.default_rng(1).normal(size=(5, 4)))
    own = jax.jit(action_values)(world, world.rewards[2], jnp.asarray(log_policy), jnp.asarray(entropy))
    np.testing.assert_allclose(
        own, values_by_loops(world, np.asarray(world.rewards[2]), log_policy, entropy), rtol=1e-12
    )


@pytest.mark.parametrize("entropy", [0.0, 0.05])
@pytest.mark.parametrize("tracking", [True, False])
def test_equals_the_algorithm(entropy, tracking):
    world, rate, weights = made_up(), 0.02, graph.metropolis(graph.ring(6))
    log_policy = normalised(np.random.default_rng(2).normal(size=(6, 5, 4)))
    own = log_policy.copy()
    values = np.stack(
        [values_by_loops(world, np.asarray(r), p, entropy) for r, p in zip(world.rewards, own, strict=True)]
    )
    tracker, step = values.copy(), rate / (1 - 0.9)
    for _ in range(5):
        stepped = (1 - step * entropy) * own + step * tracker
        own = normalised(np.einsum("ij,jsa->isa", weights, stepped))
        before, values = (
            values,
            np.stack(
                [values_by_loops(world, np.asarray(r), p, entropy) for r, p in zip(world.rewards, own, strict=True)]
            ),
        )
        tracker = np.einsum("ij,jsa->isa", weights, tracker + values - before) if tracking else values
    found, _ = iterations(world, log_policy, weights, rate, entropy, 5, tracking)
    np.testing.assert_allclose(found, own, atol=1e-12)


@pytest.mark.parametrize("entropy", [0.0, 0.05])
def test_where_all_hear_all_it_is_one_central_natural_gradient(entropy):
    world, agents = made_up(), 6
    start = np.log(np.full((agents, 5, 4), 0.25))
    found, _ = iterations(world, start, np.full((agents, agents), 1 / agents), 0.02, entropy, 10)
    central = world._replace(rewards=world.rewards.mean(0, keepdims=True))
    alone, _ = iterations(central, start[:1], np.ones((1, 1)), 0.02, entropy, 10)
    np.testing.assert_allclose(found, np.broadcast_to(alone, found.shape), atol=1e-12)


def test_trackers_have_the_mean_of_all_values_and_lose_it_where_columns_do_not_sum_to_1():
    world = made_up()
    start = normalised(np.random.default_rng(3).normal(size=(6, 5, 4)))
    _, state = iterations(world, start, RING, 0.05, 0.05, 30)
    np.testing.assert_allclose(state.tracker.mean(0), state.values.mean(0), atol=1e-13)
    uneven = graph.row_stochastic(graph.random_digraph(6, 3, 0))
    uneven = uneven * np.random.default_rng(0).uniform(0.5, 1.5, size=uneven.shape)
    _, state = iterations(world, start, uneven / uneven.sum(1, keepdims=True), 0.05, 0.05, 30)
    assert np.abs(state.tracker.mean(0) - state.values.mean(0)).max() > 1e-2


@pytest.mark.parametrize(("entropy", "tracking"), [(0.0, True), (0.2, True), (0.0, False)])
def test_a_bandit_has_a_closed_form(entropy, tracking):
    """One state and no future, where values are the rewards."""
    rng, number, rate = np.random.default_rng(4), 9, 0.3
    start, rewards = rng.normal(size=(6, 1, 4)), rng.uniform(size=(6, 1, 4))
    world = World(jnp.ones((1, 4, 1)), jnp.asarray(rewards), jnp.ones(1), jnp.asarray(0.0))
    found, _ = iterations(world, normalised(start), RING, rate, entropy, number, tracking)
    power = lambda k: np.linalg.matrix_power(RING, k)
    mixed = lambda weights, x: np.einsum("ij,jsa->isa", weights, x)
    kept = 1 - rate * entropy
    if not tracking:
        gained = rate * sum(mixed(power(k), rewards) for k in range(1, number + 1))
    else:
        gained = (rate * number if entropy == 0 else (1 - kept**number) / entropy) * mixed(power(number), rewards)
    expected = normalised(kept**number * mixed(power(number), start) + gained)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_tracking_a_gap_and_a_disagreement_stay():
    world, entropy = made_up(), 0.05
    start = np.log(np.full((6, 5, 4), 0.25))
    best, gaps, apart = optimum(world, entropy), {}, {}
    worth = jax.jit(jax.vmap(lambda own: state_values(world, world.rewards.mean(0), own, jnp.asarray(entropy))))
    for tracking in (True, False):
        found, _ = iterations(world, start, RING, 0.02, entropy, 400, tracking)
        gaps[tracking] = best - np.asarray(worth(jnp.asarray(found)) @ world.start).min()  # of the agent worst off
        apart[tracking] = np.abs(np.exp(found) - np.exp(found).mean(0)).max()
    assert 0 <= gaps[True] < 2e-4
    assert gaps[False] > 3 * gaps[True]
    assert apart[True] < 1e-5
    assert apart[False] > 1e-3


@pytest.mark.parametrize("entropy", [0.0, 0.05])
def test_the_optimum_is_that_of_value_iteration(entropy):
    world = made_up()
    reward, value = np.asarray(world.rewards.mean(0)), np.zeros(5)
    for _ in range(2000):
        values = reward + 0.9 * np.asarray(world.transitions) @ value
        value = values.max(1) if entropy == 0 else entropy * np.log(np.exp(values / entropy).sum(1))
    assert optimum(world, entropy) == pytest.approx(float(np.asarray(world.start) @ value), rel=1e-10)


@pytest.mark.parametrize(("side", "agents"), [(4, 3), (10, 10)])
def test_the_grid_is_worth_what_one_path_is(side, agents):
    world, steps = grid_world(side, agents, 0.99, 5), 2 * (side - 1)
    assert optimum(world, 0.0) == pytest.approx((1 - 0.99**steps) / (agents * 0.01), rel=1e-9)
    assert np.asarray(world.transitions).sum() == side * side * 2
    assert np.asarray(world.rewards.sum(0)).max() == 1.0  # no cell has two owners
    corner = side * side - 1
    assert (np.asarray(world.transitions)[corner, :, corner] == 1).all()
    assert not np.asarray(world.rewards[:, corner]).any()


def test_samples_come_from_discounted_play_and_are_worth_the_values():
    world = made_up(agents=1, states=3, actions=2, discount=0.6)
    log_policy = normalised(np.random.default_rng(6).normal(size=(3, 2)))
    draw = jax.jit(jax.vmap(lambda key: draw_sample(key, world, jnp.asarray(log_policy), world.rewards[0])))
    number = 200_000
    found = jax.device_get(draw(jax.random.split(jax.random.key(0), number)))
    moves = np.einsum("sat,tb->satb", np.asarray(world.transitions), np.exp(log_policy)).reshape(6, 6)
    often = 0.4 * np.linalg.solve(np.eye(6) - 0.6 * moves.T, np.full(6, 1 / 6))
    seen = np.bincount(found.state * 2 + found.action, minlength=6) / number
    assert (np.abs(seen - often) < 5 * np.sqrt(often / number)).all()
    values = values_by_loops(world, np.asarray(world.rewards[0]), log_policy, 0.0).ravel()
    for pair in range(6):
        own = found.value[found.state * 2 + found.action == pair]
        assert abs(own.mean() - values[pair]) < 5 * own.std() / np.sqrt(own.size)
    # Expected moves before and after are 0.6 / 0.4 each, and there is the sampled step itself.
    assert found.steps.mean() == pytest.approx(2 * 0.6 / 0.4 + 1, rel=0.02)


def test_a_critic_learns_as_written():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(3, 2, 4)) / 2
    samples = Sample(rng.integers(3, size=20), rng.integers(2, size=20), rng.normal(size=20), np.zeros(20, int))
    own, every = np.zeros(4), []
    for state, action, value in zip(samples.state, samples.action, samples.value, strict=True):
        phi = features[state, action]
        own = own - 0.3 * 2 * (own @ phi - value) * phi
        every.append(own)
    found = jax.jit(learnt)(jax.tree.map(jnp.asarray, samples), jnp.asarray(features), jnp.asarray(0.3))
    np.testing.assert_allclose(found, np.mean(every, 0), rtol=1e-12)


def test_agents_of_fednac_move_by_the_mean_of_all_critics():
    world = made_up(discount=0.5)
    features = jnp.asarray(np.random.default_rng(8).normal(size=(5, 4, 7)) / 3)
    step = jax.jit(functools.partial(linear_step, samples=10, tracking=True))
    nothing = jnp.zeros((6, 7))
    state, rate = Linear(nothing, nothing, nothing, jax.random.key(1)), 0.2
    for _ in range(6):
        before = state
        state, played = step(
            state, world, features, jnp.asarray(RING), learning_rate=jnp.asarray(rate), critic_step=jnp.asarray(0.1)
        )
        np.testing.assert_allclose(state.tracker.mean(0), state.critic.mean(0), atol=1e-14)
        moved = state.parameters.mean(0) - before.parameters.mean(0)
        np.testing.assert_allclose(moved, rate / 0.5 * state.critic.mean(0), atol=1e-13)
        assert int(played) >= 60
    expected = RING @ (np.asarray(before.parameters) + rate / 0.5 * np.asarray(state.tracker))
    np.testing.assert_allclose(state.parameters, expected, atol=1e-13)
    first, _ = step(
        Linear(nothing, nothing, nothing, jax.random.key(1)),
        world,
        features,
        jnp.asarray(RING),
        learning_rate=jnp.asarray(rate),
        critic_step=jnp.asarray(0.1),
    )
    np.testing.assert_allclose(first.tracker, RING @ np.asarray(first.critic), atol=1e-14)  # mixed at once
    assert np.isfinite(log_linear(state.parameters[0], features)).all()


@pytest.mark.parametrize("policy", ["softmax", pytest.param("linear", marks=pytest.mark.slow)])
def test_it_learns_what_no_agent_sees_alone(policy):
    method = {"policy": policy, "learning_rate": 0.1, "critic_step": 0.3}
    given = {"system": "fednpg", "world": {"side": 4, "discount": 0.9}, "workers": {"count": 3}, "method": method}
    given["graph"] = {"kind": "complete", "weights": "even"}
    system = make_system(check_system(given))
    state = system.begin(jax.random.key(0))
    first = float(system.evaluate(state)["gap"])
    step = jax.jit(lambda state: jax.lax.scan(lambda s, _: (system.step(s)[0], None), state, None, 20)[0])
    last = jax.device_get(jax.jit(system.evaluate)(step(state)))
    # An action's worth in a cell is no sum of what rows and columns say: features leave a part of the gap.
    assert last["gap"] < (0.2 if policy == "softmax" else 0.6) * first
    assert last["tracking_error"] < 1e-12
