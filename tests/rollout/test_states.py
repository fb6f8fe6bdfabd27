"""Whatever a state is made of, the queue plays what a plain loop plays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import linear_policy, one_policy

from nigt_jax.rollout import rollout


class _State(NamedTuple):
    obs: Any
    reward: Any
    done: Any
    key: Any
    steps: Any


class _Dice:
    """It keeps a key, and rewards what it draws of it."""

    observation_size, action_size = 1, 1

    def reset(self, key):
        zero = jnp.zeros([])
        return _State(jnp.zeros(1), zero, zero, key, jnp.zeros([], jnp.int32))

    def step(self, state, action):
        del action
        own, key = jax.random.split(state.key)
        drawn, steps = jax.random.uniform(own), state.steps + 1
        return _State(drawn[None], drawn, (drawn > 0.8).astype(float), key, steps)


def alone(key, horizon):
    """Return and length of an episode that is played step by step."""
    state, rewards = _Dice().reset(key), []
    while len(rewards) < horizon and not state.done:
        state = _Dice().step(state, jnp.zeros(1))
        rewards.append(float(state.reward))
    return sum(rewards), len(rewards)


@pytest.mark.parametrize("lanes_last", [True, False])
@pytest.mark.parametrize("lanes", [1, 3, 7])
def test_a_state_may_have_keys_and_numbers_of_all_kinds(lanes, lanes_last):
    policy, keys = linear_policy(), jax.random.split(jax.random.key(3), 7)
    active = jnp.array([True, False, True, True, True, False, True])
    params = policy.init(jax.random.key(0))

    def play(keys, active):
        tasks = one_policy(params, policy.init_normalizer(), keys, active)
        return rollout(_Dice(), policy, tasks, 9, (lanes,), lanes_last=lanes_last).outcomes

    got = jax.jit(play)(keys, active)
    wanted = [alone(jax.random.split(key)[0], 9) if on else (0.0, 0) for key, on in zip(keys, active, strict=True)]
    np.testing.assert_allclose(got.returns, [total for total, _ in wanted], rtol=1e-6)
    np.testing.assert_array_equal(got.lengths, [length for _, length in wanted])
