"""The weight 1 - momentum next to 0, where a float32 momentum has lost its digits; and schedules that say it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nigt_oracle import as_tree, as_vector, nigt_loop, noisy_quadratic

from nigt_jax.config import RennalaNigt
from nigt_jax.methods import METHODS
from nigt_jax.transforms import (
    OneMinus,
    ema_from_first,
    implicit_gradient_transport,
    n_pg_igt_schedules,
    nigt,
    nigt_eval_params,
    normalized_momentum,
)

ETA = 1e-6
GIVEN = {"a number": lambda eta: ETA, "traced": lambda eta: eta, "scheduled": lambda eta: lambda step: eta}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_tiny_weight_keeps_its_digits(given):
    """A gradient of 0 and one of 1e6 average to 1. Through a float32 momentum it is 0.95 or 1.013."""

    @jax.jit
    def averages(eta):
        momentum = OneMinus(given(eta.astype(jnp.float32)))
        ema = ema_from_first(momentum)
        steps = normalized_momentum(0.1, momentum)
        transport = implicit_gradient_transport(optax.chain(ema, optax.scale(-0.1)), momentum)
        found = []
        for tx in (ema, steps, transport, nigt(0.1, momentum)):
            state = tx.init(jnp.zeros(1))
            for gradient in (0.0, 1e6):
                _, state = tx.update(jnp.full(1, gradient), state)
            found.append(state)
        ema, steps, transport, whole = found
        return (ema.ema, steps.direction, whole.inner_state.direction), (transport.reach, whole.reach)

    averaged, reach = averages(jnp.float32(ETA))
    np.testing.assert_allclose(averaged, np.ones((3, 1)), rtol=2e-7)
    np.testing.assert_allclose(reach, (1 - ETA) / ETA, rtol=2e-7)


def test_the_trainer_takes_it_from_what_the_user_wrote():
    """0.999999 is 0.99999899 in float32, and a weight of 1.013e-6."""
    step = METHODS["rennala_nigt"].hyperparameters(RennalaNigt(momentum=0.999999))
    np.testing.assert_allclose(step.newest_weight, ETA, rtol=1e-7)
    for name in ("rennala_nigt", "afedpg"):
        update = lambda step, name=name: METHODS[name].update(step)
        reach = jax.jit(lambda step, update=update: update(step).update(jnp.ones(1), update(step).init(jnp.ones(1)))[1])
        np.testing.assert_allclose(reach(step).reach, 999_999, rtol=1e-6)


@pytest.mark.parametrize("newest", [1.0, 0.3])
def test_n_pg_igt_schedules_are_its_formulas(newest):
    """As one compiled scan, against the loop in float64."""
    steps = 60
    hessian, noise, start = noisy_quadratic(steps)
    decay = lambda k: 2 / (k + 2)
    gradient = lambda q, k: hessian @ q + noise[k]
    wanted = nigt_loop(gradient, start, steps, lambda k: 0.3 * decay(k), lambda k: 1 - newest * decay(k) ** 0.8)
    tx = nigt(*n_pg_igt_schedules(0.3, newest))
    h = jnp.asarray(hessian, jnp.float32)

    def step(carry, epsilon):
        params, state = carry
        updates, state = tx.update(as_tree(h @ as_vector(params) + epsilon), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (as_vector(nigt_eval_params(state, params)), as_vector(params))

    start = as_tree(jnp.asarray(start, jnp.float32))
    run = jax.jit(functools.partial(jax.lax.scan, step))
    for mine, theirs in zip(run((start, tx.init(start)), jnp.asarray(noise, jnp.float32))[1], wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
