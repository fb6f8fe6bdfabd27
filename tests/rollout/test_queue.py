"""The queue: whatever the lanes, the same episodes; no more work than there is; and what is folded over their steps."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import EndsWhenGood, Quadratic, State, alone, brax_environment, dense, linear_policy, one_policy, play

from nigt_jax.environments import Variation
from nigt_jax.policies import update_statistics
from nigt_jax.rollout import Tasks, observation_statistics, play_only, rollout
from nigt_jax.rollout._queue import most_rows

POLICY = linear_policy()
PARAMS = POLICY.init(jax.random.key(0))
NORMALIZER = POLICY.init_normalizer()
HORIZON, EPISODES = 6, 23


def played(widths, environment=None, active=None, variation=None):
    active = jnp.ones(EPISODES, bool) if active is None else active
    keys = jax.random.split(jax.random.key(0), EPISODES)
    run = lambda k, v: dense(
        play(environment or EndsWhenGood(), POLICY, PARAMS, NORMALIZER, k, active, HORIZON, widths, v)
    )
    return jax.jit(run)(keys, variation)


SOME = [(1,), (4, 2), (8, 4, 1)]
MORE = [pytest.param(widths, marks=pytest.mark.slow) for widths in [(4,), (8, 4, 2), (22, 11)]]


@pytest.mark.parametrize("widths", [*SOME, *MORE])
@pytest.mark.parametrize(
    "environment", [EndsWhenGood(), pytest.param(Quadratic(), marks=pytest.mark.slow)], ids=lambda e: type(e).__name__
)
def test_lanes_make_no_difference(environment, widths):
    """One lane is the reference one episode at a time; test_rollout.py holds side by side against a plain loop."""
    for got, wanted in zip(played(widths, environment), played((EPISODES,), environment), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_only_the_active_are_played():
    active = jnp.arange(EPISODES) % 3 == 1
    for got, everyone in zip(played((4, 2), active=active), played((EPISODES,)), strict=True):
        kept = np.asarray(active).reshape({1: (-1,), 2: (1, -1), 3: (1, -1, 1)}[everyone.ndim])
        np.testing.assert_array_equal(got, np.where(kept, everyone, 0))
    nobody = played((4, 2), active=jnp.zeros(EPISODES, bool))
    assert not any(np.asarray(x).any() for x in nobody)


def test_environments_travel_with_their_episodes():
    class Weighed(EndsWhenGood):
        _pay_weight = 1.0

        def step(self, state, action):
            state = super().step(state, action)
            return state._replace(reward=self._pay_weight * state.reward)

    ones, factor = jnp.ones(EPISODES), jnp.arange(1.0, EPISODES + 1)
    variation = Variation(ones, ones, ones, ones, {"pay_weight": factor}, None)
    got, plain = played((4, 2), Weighed(), variation=variation), played((EPISODES,))
    np.testing.assert_allclose(got.returns, factor * plain.returns, rtol=1e-6)


class EndsAt:
    """Episode lengths by decree: the first observation says how many steps there are."""

    observation_size = action_size = 1

    def __init__(self, lengths):
        self.lengths = lengths

    def reset(self, key):
        """As many steps as the decree says for this key."""
        mine = jax.random.randint(jax.random.split(key)[0], (), 0, self.lengths.size)
        return State(self.lengths[mine][None], jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        """One step less."""
        del action
        left = state.obs - 1
        return state._replace(obs=left, done=(left[0] <= 0).astype(jnp.float32), reward=jnp.ones(()))


@jax.jit
def scheduled(lengths, keys, active):
    tasks = one_policy(PARAMS, NORMALIZER, keys, active)
    return rollout(EndsAt(lengths), POLICY, tasks, 9, (4, 2), lanes_last=True).outcomes


@given(st.lists(st.integers(1, 12), min_size=5, max_size=5), st.integers(0, 99), st.integers(0, 14))
def test_lanes_are_filled_as_a_list_scheduler_fills_them(lengths, seed, number):
    """In plain Python: who is next goes to the lane that is free first, and nothing runs beyond the rows there are."""
    keys, horizon, lanes = jax.random.split(jax.random.key(seed), 14), 9, 4
    got = scheduled(jnp.asarray(lengths, jnp.float32), keys, jnp.arange(14) < number)
    free = [0] * lanes
    for episode in range(number):
        lane = min(range(lanes), key=lambda i: (free[i], i))
        assert (int(got.row[episode]), int(got.lane[episode])) == (free[lane], lane)
        assert 1 <= int(got.lengths[episode]) <= horizon
        free[lane] += int(got.lengths[episode])
    assert not np.asarray(got.lengths[number:]).any()
    assert max(free) <= most_rows(14, lanes, horizon)


@pytest.mark.parametrize("number", [1, 4, 5, 13, 14])
def test_the_longest_episodes_need_every_row(number):
    keys = jax.random.split(jax.random.key(0), 14)
    got = scheduled(jnp.full(5, 12.0), keys, jnp.arange(14) < number)
    assert int((got.row + got.lengths).max()) == most_rows(number, 4, 9)


def test_computed_steps_are_counted_and_narrowing_saves_some():
    keys = jax.random.split(jax.random.key(3), 64)
    tasks = one_policy(PARAMS, NORMALIZER, keys, jnp.ones(64, bool))
    count = lambda widths: jax.jit(lambda t: play_only(EndsWhenGood(), POLICY, t, 50, widths, lanes_last=True))(tasks)
    (outcomes, side_by_side), (_, queue), (_, narrowed) = count((64,)), count((8,)), count((8, 4))
    useful = int(outcomes.lengths.sum())
    assert int(side_by_side) == 64 * int(outcomes.lengths.max())
    assert int(queue) % 8 == 0
    assert useful <= int(narrowed) <= int(queue) < int(side_by_side)
    assert useful / int(narrowed) > 0.85


def test_groups_have_policies_of_their_own_and_share_the_lanes():
    """Three policies through four lanes are the three of them one after the other."""
    policies = [jax.tree.map(lambda x, k=k: x + 0.4 * k, PARAMS) for k in range(3)]
    keys = jax.random.split(jax.random.key(1), 15)
    stack = lambda *trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)
    statistics = NORMALIZER
    tasks = Tasks(keys, jnp.arange(15) != 7, stack(*policies), stack(*[statistics] * 3), None, jnp.zeros(3))
    together = dense(jax.jit(lambda t: rollout(EndsWhenGood(), POLICY, t, HORIZON, (4, 2), lanes_last=True))(tasks))
    for k, params in enumerate(policies):
        mine = slice(5 * k, 5 * k + 5)
        wanted_of = dense(play(EndsWhenGood(), POLICY, params, statistics, keys[mine], tasks.active[mine], HORIZON))
        for got, wanted in zip(together, wanted_of, strict=True):
            part = got[:, mine] if got.ndim > 1 else got[mine]
            np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-6)


def test_a_fold_sees_every_step_once():
    keys = jax.random.split(jax.random.key(2), 12)
    params, normalizer = (jax.tree.map(lambda x: jnp.stack([x] * 3), t) for t in (PARAMS, NORMALIZER))
    batch = rollout(
        EndsWhenGood(),
        POLICY,
        Tasks(keys, jnp.arange(12) % 5 > 0, params, normalizer, None, jnp.zeros(3)),
        HORIZON,
        (5, 2),
        7,
        lanes_last=True,
    )
    batch = batch.only(jnp.arange(12) != 3)
    flat = dense(batch)

    def note(group, seen, steps):
        here = jnp.where(steps.valid, steps.episode, 12)
        count, samples = seen
        assert steps.time.shape == (7,)
        return count.at[steps.time, here].add(1, mode="drop"), samples.at[steps.time, here].set(
            steps.sample[:, 0] + 100.0 * group.astype(jnp.float32), mode="drop"
        )

    start = jnp.zeros((3, HORIZON, 12), jnp.int32), jnp.zeros((3, HORIZON, 12))
    count, samples = batch.fold(note, start)
    for group in range(3):
        own = np.arange(12) // 4 == group
        np.testing.assert_array_equal(count[group], np.asarray(flat.alive) & own[None])
        mine = np.where(np.asarray(flat.alive) & own[None], np.asarray(flat.sample[..., 0]) + 100 * group, 0)
        np.testing.assert_allclose(samples[group], mine, rtol=1e-6)


def test_statistics_are_those_of_the_counted_steps():
    keys = jax.random.split(jax.random.key(0), 40)
    normalizer = linear_policy(normalize=True).init_normalizer()
    batches = [
        play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys[part], jnp.ones(20, bool), HORIZON, (7,))
        for part in (slice(20), slice(20, 40))
    ]
    seen, counted = np.zeros((0, 1)), jnp.arange(20) < 13
    for batch in (b.only(counted) for b in batches):
        flat = dense(batch)
        seen = np.append(seen, np.asarray(flat.observation, np.float64)[np.asarray(flat.alive)], axis=0)
        normalizer = update_statistics(normalizer, alone(observation_statistics(batch, None)))
        np.testing.assert_allclose(normalizer.mean, seen.mean(0), rtol=1e-5)
        np.testing.assert_allclose(normalizer.std, seen.std(0), rtol=1e-5)
    after = update_statistics(normalizer, alone(observation_statistics(batches[0].only(jnp.zeros(20, bool)), None)))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after, normalizer))


def test_large_observations_do_not_swallow_small_deviations():
    keys = jax.random.split(jax.random.key(0), 50)
    batch = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(50, bool), HORIZON)
    far = dataclasses.replace(batch, observation=batch.observation * 0.1 + 1000)
    got = update_statistics(NORMALIZER, alone(observation_statistics(far, None)))
    np.testing.assert_allclose(got.std, [np.asarray(dense(far).observation, np.float64).std()], rtol=1e-3)


def test_an_observation_that_explodes_leaves_no_nan():
    keys = jax.random.split(jax.random.key(0), 50)
    batch = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(50, bool), HORIZON)
    bursting = dataclasses.replace(batch, observation=batch.observation.at[0, 0, 0].set(1e30))
    got = update_statistics(NORMALIZER, alone(observation_statistics(bursting, None)))
    assert np.isfinite(got.mean).all()
    np.testing.assert_array_equal(got.std, [1e6])


@pytest.mark.slow
def test_statistics_are_those_of_brax():
    """The same numbers as Brax's own update makes of an array, and the same standardised observations."""
    from brax.training.acme import running_statistics  # not before nigt_jax.environments has imported Brax quietly

    keys = jax.random.split(jax.random.key(0), 30)
    batch = play(Quadratic(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(30, bool), HORIZON)
    got, wanted = NORMALIZER, running_statistics.init_state(jnp.zeros(1))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for part in (batch, dataclasses.replace(batch, observation=3 * batch.observation)):
            got = update_statistics(got, alone(observation_statistics(part, None)))
            wanted = running_statistics.update(wanted, dense(part).observation)
        seen = POLICY._replace(normalize=True).standardise(got, 50 * dense(batch).observation)
        np.testing.assert_allclose(
            seen, running_statistics.normalize(50 * dense(batch).observation, got, max_abs_value=10.0), rtol=1e-6
        )
    for name in ("mean", "std", "summed_variance"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=1e-4)
    assert int(got.count.lo) == int(wanted.count) > 0
    assert int(got.count.hi) == 0


@pytest.mark.parametrize("groups", [1, 3])
def test_lanes_in_front_give_the_same_episodes(groups):
    """As on devices other than a CPU, where `jax.vmap` places the lanes."""
    keys = jax.random.split(jax.random.key(4), 12)
    params, normalizer = (jax.tree.map(lambda x: jnp.stack([x] * groups), t) for t in (PARAMS, NORMALIZER))
    tasks = Tasks(keys, jnp.arange(12) != 5, params, normalizer, None, jnp.zeros(groups))
    play = lambda tasks, last: rollout(EndsWhenGood(), POLICY, tasks, HORIZON, (4, 2), 7, lanes_last=last)
    both = [jax.jit(play, static_argnums=1)(tasks, last) for last in (True, False)]
    chex.assert_trees_all_close(*both, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_a_brax_environment_through_few_lanes():
    """Bit for bit what it is with all side by side, but for the rounding of matrix products of other widths."""
    environment = brax_environment("inverted_pendulum", "spring")
    policy = linear_policy()._replace(observation_size=4)
    params, normalizer = policy.init(jax.random.key(0)), policy.init_normalizer()
    tasks = one_policy(params, normalizer, jax.random.split(jax.random.key(5), 24), jnp.ones(24, bool))
    one, other = (
        jax.jit(lambda t, w=w: play_only(environment, policy, t, 60, w, lanes_last=True))(tasks)[0]
        for w in ((24,), (5, 2))
    )
    assert len(set(np.asarray(one.lengths).tolist())) > 3
    np.testing.assert_array_equal(one.lengths, other.lengths)
    np.testing.assert_allclose(one.returns, other.returns, rtol=1e-5)
