"""Trajectories are fresh draws, end where they end, and do not depend on their neighbours."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from probes import Breaks, EndsWhenGood, Quadratic, brax_environment, dense, linear_policy

POLICY = linear_policy()
PARAMS = POLICY.init(jax.random.key(0))
NORMALIZER = POLICY.init_normalizer()


def play(environment, lanes=64, horizon=6, seed=0, active=None, policy=POLICY, params=PARAMS, normalizer=NORMALIZER):
    keys = jax.random.split(jax.random.key(seed), lanes)
    active = jnp.ones(lanes, bool) if active is None else active
    return jax.jit(lambda k: dense(probes.play(environment, policy, params, normalizer, k, active, horizon)))(keys)


def test_equals_a_plain_loop_one_episode_at_a_time():
    """The reference: Python control flow, one lane, nothing masked."""
    environment, horizon = EndsWhenGood(), 6
    batch = play(environment, lanes=16, horizon=horizon)
    for lane, key in enumerate(jax.random.split(jax.random.key(0), 16)):
        reset_key, action_key = jax.random.split(key)
        state, rewards, samples = environment.reset(reset_key), [], []
        while len(rewards) < horizon and not state.done:
            sample = POLICY.sample(PARAMS, NORMALIZER, state.obs, jax.random.fold_in(action_key, len(rewards)))
            state = environment.step(state, jnp.tanh(sample))
            rewards.append(float(state.reward))
            samples.append(np.asarray(sample))
        length = len(rewards)
        assert batch.alive[:, lane].tolist() == [True] * length + [False] * (horizon - length)
        np.testing.assert_allclose(batch.reward[:length, lane], rewards, rtol=1e-6)
        np.testing.assert_allclose(batch.sample[:length, lane], samples, rtol=1e-6)


def test_nothing_after_the_end():
    batch = play(EndsWhenGood())
    lengths = batch.lengths
    assert 1 in lengths
    assert (lengths == 6).any()
    assert not batch.reward[~batch.alive].any()
    assert not batch.observation[~batch.alive].any()
    assert (np.diff(batch.alive.astype(int), axis=0) <= 0).all()  # none comes back to life
    last = batch.reward[lengths - 1, np.arange(64)]
    np.testing.assert_allclose(last[lengths < 6], 1.3)  # the reward of the last step is counted


def test_every_episode_starts_from_its_own_reset():
    batch = play(Quadratic(), lanes=500)
    starts = batch.observation[0, :, 0]
    assert len(np.unique(starts)) > 490  # float32 may repeat one
    assert abs(starts.mean() - 0.5) < 0.03
    assert abs(starts.std() - 0.1) < 0.02
    again = play(Quadratic(), lanes=500, seed=1)
    assert np.isin(again.observation[0, :, 0], starts).sum() < 10


def test_an_episode_depends_on_its_own_key_alone():
    many, few = play(Quadratic(), lanes=64), jax.random.split(jax.random.key(0), 64)[5:7]
    lonely = dense(probes.play(Quadratic(), POLICY, PARAMS, NORMALIZER, few, jnp.ones(2, bool), 6))
    np.testing.assert_allclose(lonely.reward, many.reward[:, 5:7], rtol=1e-6)


def test_inactive_lanes_have_no_episode():
    batch = play(Quadratic(), lanes=8, active=jnp.arange(8) < 3)
    assert batch.lengths.tolist() == [6, 6, 6, 0, 0, 0, 0, 0]
    assert not batch.reward[:, 3:].any()


def test_a_number_that_is_not_finite_ends_the_episode():
    batch = play(Breaks())
    assert batch.diverged.any()
    assert not batch.diverged.all()
    assert all(np.isfinite(leaf).all() for leaf in batch)
    lengths, returns = np.asarray(batch.lengths), np.asarray(batch.returns)
    np.testing.assert_array_equal(returns, lengths - np.asarray(batch.diverged))  # the step that broke earns nothing
    assert (lengths[~batch.diverged] == 6).all()


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_missed_steps_are_charged(discount):
    """In plain Python: a broken episode as if it had gone on to the horizon at the charge."""
    keys = jax.random.split(jax.random.key(0), 40)
    batch = probes.play(Breaks(), POLICY, PARAMS, NORMALIZER, keys, jnp.ones(40, bool), 6, (7, 3), charge=-2.5)
    rewards, factors = np.asarray(batch.rewards(jnp.full(1, discount))), discount ** np.arange(6)
    assert 0 < batch.outcomes.diverged.sum() < 40
    for episode in range(40):
        length, broken = int(batch.lengths[episode]), bool(batch.outcomes.diverged[episode])
        told = np.array([1.0] * (length - broken) + [-2.5] * (6 + broken - length if broken else 0))
        assert float(batch.returns[episode]) == pytest.approx(told.sum())
        np.testing.assert_allclose(factors @ rewards[:, episode], factors[: told.size] @ told, rtol=1e-5)
        assert not rewards[length:, episode].any()
    np.testing.assert_array_equal(batch.lowest(), [0.0])
    whole = int(jnp.argmin(batch.outcomes.diverged))  # an episode that did not break, and its first step
    at = batch.outcomes.row[whole], batch.outcomes.lane[whole]
    assert float(dataclasses.replace(batch, reward=batch.reward.at[at].set(-3.0)).lowest()[0]) == -3.0


def test_normalisation_is_what_the_network_sees_and_raw_is_what_is_stored():
    policy = linear_policy(normalize=True)
    shifted = NORMALIZER._replace(mean=jnp.array([0.5]), std=jnp.array([0.1]))
    batch = play(Quadratic(), policy=policy, normalizer=shifted, lanes=500)
    assert abs(batch.observation[0].mean() - 0.5) < 0.03
    mean, _ = policy.distribution(PARAMS, shifted, jnp.array([0.6]))
    np.testing.assert_allclose(mean, [-0.3 * 1.0 + 0.2], rtol=1e-4)


def test_density_is_that_of_the_stored_sample():
    u = jnp.array([[0.3], [9.0]])  # tanh(9) is 1 in float32: its atanh would be infinite
    mean, std = POLICY.distribution(PARAMS, NORMALIZER, jnp.array([[0.5], [0.5]]))
    expected = -0.5 * ((u - mean) / std) ** 2 - jnp.log(std) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        POLICY.log_density(PARAMS, NORMALIZER, jnp.full((2, 1), 0.5), u), expected[:, 0], rtol=1e-5
    )


def test_loading_an_environment_is_silent(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)  # where MuJoCo would leave a log file
    brax_environment("halfcheetah", "spring")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_brax_environment_with_strict_promotion_around_it():
    environment = brax_environment("fast", "spring")
    keys = jax.random.split(jax.random.key(0), 3)
    policy = linear_policy()._replace(observation_size=2)
    params, normalizer = policy.init(keys[0]), policy.init_normalizer()
    batch = dense(probes.play(environment, policy, params, normalizer, keys, jnp.ones(3, bool), 5))
    assert batch.observation.shape == (5, 3, 2)
