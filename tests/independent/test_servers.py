"""The server of each method that only sums, alone: how gradients are combined, and the step that is made of them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY, RULES
from walk import tree_of, vector_of
from whole_runs import Agnostic, AgnosticAtTheIterate, AtTheIterate, Igt, Nigt, Plain

from nigt_jax.clocks import Round
from nigt_jax.config import METHODS as SECTIONS
from nigt_jax.methods import METHODS, Progress, ask, iterate, start, tell

WORKERS, ROUNDS, WEIGHT, STEP, HALF_LIFE, TOLERATED = 5, 8, 0.25, 0.1, 3.0, 4
AGNOSTIC = "ringmaster_agnostic_nigt"
SHAPE = {"a": np.zeros((3, 2)), "b": np.zeros(4)}
# Of each method: whom it counts, or which delay is too much for update k; whether workers weigh alike; its update.
AS_SPECIFIED = {
    "rennala_nigt": ("rennala", False, Nigt),
    "malenia_nigt": ("malenia", True, Nigt),
    "synchronous_nigt": ("synchronous", False, Nigt),
    "m_synchronous_nigt": ("m_synchronous", False, Nigt),
    "adaptive_nigt": ("rennala", False, Nigt),  # how it chooses M: test_adaptive.py
    "rennala_igt": ("rennala", False, Igt),
    "rennala_pg": ("rennala", False, Plain),
    "synchronous_pg": ("synchronous", False, Plain),
    "afedpg": (lambda k: np.inf, False, Nigt),
    "ringmaster_nigt": (lambda k: TOLERATED, False, Nigt),
    "ringleader_nigt": (None, False, Nigt),  # its rule and its tables: test_ringleader.py
    AGNOSTIC: (math.isqrt, False, Agnostic),
    "asynchronous_pg": (lambda k: np.inf, False, Plain),
}

told = functools.partial(jax.jit, static_argnames=("method", "axis_name"), compiler_options=QUICKLY)(tell)


def test_these_only_sum():
    # Methods that play a round's episodes again are told more than a sum: test_n_harpg.py, test_whole_runs.py.
    only_sum = {name for name, method in METHODS.items() if method.worker is None and method.last_step is None}
    assert only_sum == AS_SPECIFIED.keys()


def section_of(name, ahead):
    """The section of a method's settings, with those of these that it has."""
    given = {"learning_rate": STEP, "learning_rate_half_life": HALF_LIFE, "momentum": 1 - WEIGHT}
    given |= {"extrapolation": ahead, "max_delay": TOLERATED}
    return SECTIONS[name](**{key: value for key, value in given.items() if key in SECTIONS[name].__dataclass_fields__})


def check_delays(rule, tolerates):
    """A gradient of the last delay that is good for an update, and one of the next, around squares and far beyond."""
    take = jax.jit(lambda rule, at, updates: rule.take((), jnp.int32(0), at, updates)[0])
    updates = {0, 1, 2, 3, *(m**2 + d for m in (2, 5, 100, 4097, 31622) for d in (-2, -1, 0))}
    for made in map(np.int32, updates):
        most = int(min(tolerates(int(made) + 1), made))
        for delay in {0, most - 1, most} - {-1}:
            fate = take(rule, np.int32(made - delay), made)
            good = delay < tolerates(int(made) + 1)
            assert (bool(fate.absorbed), bool(fate.updates)) == (good, good), (made, delay)
            assert (int(fate.delay), int(fate.serial)) == (delay, made)


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize(
    ("name", "ahead"),
    [*((name, True) for name in AS_SPECIFIED), *((name, False) for name in ("rennala_nigt", "afedpg", AGNOSTIC))],
)
def test_equals_the_algorithm(name, ahead):
    method, (counts_or_tolerates, alike, server) = METHODS[name], AS_SPECIFIED[name]
    server = server if ahead else AgnosticAtTheIterate if server is Agnostic else AtTheIterate
    real = lambda x: jnp.asarray(x, jnp.float32)
    section = section_of(name, ahead)
    settings = method.hyperparameters(section)
    rounds = method.kind == "summed"
    if rounds:
        assert method.schedule.rule is RULES[counts_or_tolerates]
    elif counts_or_tolerates is not None:
        check_delays(method.schedule.rule(settings), counts_or_tolerates)

    rng = np.random.default_rng(0)
    theta = rng.normal(size=10).astype(np.float32)
    own = server(np.asarray(theta, np.float64), section.newest_weight, lambda t: STEP / (1 + t / HALF_LIFE))
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
