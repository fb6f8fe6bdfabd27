"""An environment's code is run once a program, and again for the next one."""

import jax.numpy as jnp
import pytest
from probes import EndsWhenGood, State

from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime


class Noted(EndsWhenGood):
    """Notes whenever its code is run; what a step earns can be changed from outside."""

    def __init__(self):
        self.calls, self.earned = [], 0.3

    def reset(self, key):
        self.calls.append("reset")
        return super().reset(key)

    def step(self, state, action):
        del action
        self.calls.append("step")
        return State(state.obs, jnp.full_like(state.reward, self.earned), state.done)


def runtime(environment):
    cfg = {
        "environment": {"name": "fast", "horizon": 3},
        "method": {"batch_size": 32},
        "training": {"devices": 1, "lanes": 16, "platform": "cpu"},
    }
    return SimulatedRuntime(check_config(cfg), environment)


def test_once_for_rounds_and_evaluations():
    environment = Noted()
    made = runtime(environment)
    environment.calls.clear()
    made.compile()
    assert sorted(environment.calls) == ["reset", "step"]


def test_an_environment_that_has_changed_is_traced_again():
    environment = Noted()
    for earned in (0.3, 0.5):
        environment.earned = earned
        made = runtime(environment)
        assert made.evaluate(made.initial_state())[0]["return_mean"] == pytest.approx(3 * earned)
