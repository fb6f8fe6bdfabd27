"""The server of each method that only sums, alone: how gradients are combined, and the step that is made of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY, RULES
from walk import tree_of, vector_of
from whole_runs import AtTheIterate, Igt, Nigt, Plain

from nigt_jax.clocks import Round
from nigt_jax.config import METHODS as SECTIONS
from nigt_jax.methods import METHODS, Progress, StepHyperparameters, ask, iterate, start, tell

WORKERS, ROUNDS, WEIGHT, STEP, HALF_LIFE, TOLERATED = 5, 8, 0.25, 0.1, 3.0, 4
SHAPE = {"a": np.zeros((3, 2)), "b": np.zeros(4)}
# Of each method: whom it counts, or which delays it tolerates; whether workers weigh alike; its update.
AS_SPECIFIED = {
    "rennala_nigt": ("rennala", False, Nigt),
    "malenia_nigt": ("malenia", True, Nigt),
    "synchronous_nigt": ("synchronous", False, Nigt),
    "m_synchronous_nigt": ("m_synchronous", False, Nigt),
    "rennala_igt": ("rennala", False, Igt),
    "rennala_pg": ("rennala", False, Plain),
    "synchronous_pg": ("synchronous", False, Plain),
    "afedpg": (np.inf, False, Nigt),
    "ringmaster_nigt": (TOLERATED, False, Nigt),
    "asynchronous_pg": (np.inf, False, Plain),
}

told = functools.partial(jax.jit, static_argnames=("method", "axis_name"), compiler_options=QUICKLY)(tell)


def test_these_only_sum():
    assert {name for name, method in METHODS.items() if method.worker is None} == AS_SPECIFIED.keys()


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize(
    ("name", "ahead"), [*((name, True) for name in AS_SPECIFIED), ("rennala_nigt", False), ("afedpg", False)]
)
def test_equals_the_algorithm(name, ahead):
    method, (counts_or_tolerates, alike, server) = METHODS[name], AS_SPECIFIED[name]
    server = server if ahead else AtTheIterate
    transport = SECTIONS[name](momentum=1 - WEIGHT, extrapolation=ahead).transport_weight if server is not Plain else 1
    real = lambda x: jnp.asarray(x, jnp.float32)
    changes = {"max_delay": TOLERATED} if name == "ringmaster_nigt" else {}
    half_life = Progress(real(HALF_LIFE), *[real(np.inf)] * 3)
    settings = StepHyperparameters(
        real(STEP), half_life, real(WEIGHT), real(transport), jnp.asarray(TOLERATED, jnp.int32)
    )
    rounds = method.kind == "summed"
    if rounds:
        assert method.schedule.rule is RULES[counts_or_tolerates]
    else:
        tolerated = method.hyperparameters(SECTIONS[name](**changes)).max_delay
        assert int(tolerated) == min(counts_or_tolerates, 2**31 - 1)

    rng = np.random.default_rng(0)
    theta = rng.normal(size=10).astype(np.float32)
    own = server(np.asarray(theta, np.float64), WEIGHT, lambda t: STEP / (1 + t / HALF_LIFE))
    state = start(method, tree_of(theta, SHAPE), settings)
    for number in range(ROUNDS):
        counts = rng.integers(1, 7, WORKERS) if rounds else np.array([1])
        sums = rng.normal(size=(len(counts), 10)).astype(np.float32) * counts[:, None].astype(np.float32)
        weights = np.ones(1)
        if rounds:
            one = Round(jnp.asarray(counts, jnp.int32), real(1), jnp.zeros(WORKERS, jnp.int32), jnp.asarray(True))
            weights = np.asarray(method.schedule.weigh(one), np.float64)
        now = settings.at(Progress(real(number), *[real(0)] * 3))
        state, norm = told(method, state, now, tree_of(weights @ sums, SHAPE), real(weights @ counts), None)
        gradient = (sums / counts[:, None]).mean(0) if alike else sums.sum(0) / counts.sum()
        own.absorb(np.asarray(gradient, np.float64))
        where = f"{name}, update {number + 1}"
        np.testing.assert_allclose(norm, np.linalg.norm(gradient), rtol=2e-6, err_msg=where)
        np.testing.assert_allclose(vector_of(iterate(method, state).params), own.theta, atol=2e-6, err_msg=where)
        np.testing.assert_allclose(vector_of(ask(state).params), own.query, atol=4e-6, err_msg=where)
