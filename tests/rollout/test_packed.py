"""A state in a few arrays is the state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import linear_policy

from nigt_jax.rollout import one_policy, rollout
from nigt_jax.rollout._packed import pack

LANES = 5


def of_many_kinds():
    """A tree of arrays of several dtypes and ranks, one without entries among them, and of keys."""
    number = lambda *shape: jnp.arange(np.prod(shape, dtype=int) * LANES).reshape(*shape, LANES)
    return {
        "scalar": number().astype(jnp.float32),
        "matrix": -number(2, 3).astype(jnp.float32),
        "whole": (number(4), number(2, 1)),
        "truth": number(3) % 2 == 0,
        "none": jnp.zeros((0, LANES)),
        "key": jax.random.split(jax.random.key(0), LANES),
        "keys": jax.random.split(jax.random.key(1), (2, LANES)),
    }


def equal(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for one, other in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
        assert one.dtype == other.dtype
        data = jax.random.key_data if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) else jnp.asarray
        np.testing.assert_array_equal(data(one), data(other))


@pytest.mark.parametrize("compiled", [False, True])
def test_what_was_packed_comes_out(compiled):
    there_and_back = lambda tree: pack(tree).tree()
    equal((jax.jit(there_and_back) if compiled else there_and_back)(of_many_kinds()), of_many_kinds())


def test_there_is_an_array_for_each_dtype():
    arrays = pack(of_many_kinds()).arrays
    assert {name: x.shape for name, x in arrays.items()} == {
        "float32": (1 + 6, LANES),
        "int32": (4 + 2, LANES),
        "bool": (3, LANES),
        "uint32": (2 + 2 * 2, LANES),
    }


def test_some_lanes_of_the_whole_are_those_of_every_leaf():
    some = jnp.array([4, 0, 4])
    got = jax.tree.map(lambda x: x[:, some], pack(of_many_kinds())).tree()
    equal(got, jax.tree.map(lambda x: x[..., some], of_many_kinds()))


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
