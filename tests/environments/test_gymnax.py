"""Environments of gymnax are gymnax's, behind the interface of all others."""

import contextlib

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.config import GYMNAX, GymnaxEnvironment
from nigt_jax.environments import action_space, first_state, make_environment, observed, permissive
from nigt_jax.errors import UserError


@contextlib.contextmanager
def permitted():
    """As all environments' own code."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def made(name):
    return make_environment(GymnaxEnvironment(name=name))


def test_each_is_one_that_can_be_played():
    for name in GYMNAX:
        (size,) = observed(first_state(made(name))).shape
        with permitted():
            theirs, params = gymnax.make(name)
            space, seen = theirs.action_space(params), theirs.observation_space(params)
        assert size == np.prod(seen.shape)
        assert action_space(made(name)) == ((True, space.n) if hasattr(space, "n") else (False, *space.shape))


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Breakout-MinAtar"])
def test_its_steps_are_gymnaxs(name):
    """The same keys through gymnax's own functions, with its own actions: to the end of the episode, and not beyond."""
    ours, (theirs, params) = made(name), gymnax.make(name)
    discrete, size = action_space(ours)
    rng = np.random.default_rng(0)
    reset, step = jax.jit(permissive(ours.reset)), jax.jit(permissive(ours.step))
    state, ended = reset(jax.random.key(3)), False
    key, own = jax.random.split(jax.random.key(3))
    with permitted():
        seen, inner = theirs.reset_env(own, params)
        for _ in range(60):
            np.testing.assert_allclose(state.obs, np.ravel(seen), rtol=1e-5, atol=1e-6)
            if ended:
                break
            given = jnp.int32(rng.integers(size)) if discrete else jnp.asarray(rng.uniform(-1, 1, size), jnp.float32)
            state = step(state, given)
            key, own = jax.random.split(key)
            torque = given if discrete else 2 * given  # of a pendulum: -2 to 2
            seen, inner, reward, ended, _ = theirs.step_env(own, inner, torque, params)
            np.testing.assert_allclose(state.reward, reward, rtol=1e-5, atol=1e-5)
            assert bool(state.done) == bool(ended)


def test_what_gymnax_cuts_has_ended():
    """A cart pole that stays up for gymnax's 500 steps, of a state just before."""
    environment = made("CartPole-v1")
    with permitted():
        state = environment.reset(jax.random.key(0))
        late = state._replace(inner=state.inner.replace(time=jnp.int32(499)))
        assert not environment.step(state, jnp.int32(0)).done
        assert environment.step(late, jnp.int32(0)).done


def test_a_suite_that_is_not_there(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(
        UserError, match=r"CartPole-v1: gymnax is not installed, allowed: pip install 'nigt_jax\[gymnax\]'"
    ):
        made("CartPole-v1")
