"""MuJoCo Playground, where it is installed: its own extra brings more than all the rest of this package."""

import jax
import numpy as np
import pytest

from nigt_jax.config import DM_CONTROL, PLAYGROUND, PlaygroundEnvironment, WorkersConfig
from nigt_jax.environments import check_environment, check_variation, make_environment, make_variation, permissive
from nigt_jax.errors import UserError

playground = pytest.importorskip("mujoco_playground")
pytestmark = pytest.mark.slow


def test_the_catalogue_is_what_there_is():
    assert set(PLAYGROUND) == set(playground.registry.ALL_ENVS)
    assert set(DM_CONTROL) == set(playground.dm_control_suite.ALL_ENVS)


@pytest.mark.parametrize("name", DM_CONTROL)
def test_each_can_be_played(name):
    environment = make_environment(PlaygroundEnvironment(name=name))
    check_environment(environment)
    state = jax.jit(permissive(environment.reset))(jax.random.key(0))
    state = jax.jit(permissive(environment.step))(state, np.zeros(environment.action_size, np.float32))
    assert np.isfinite(state.reward)


def test_its_physics_vary():
    environment = make_environment(PlaygroundEnvironment(name="CartpoleBalance"))
    check_variation(environment, make_variation(WorkersConfig(count=2, environments=({"workers": (2,), "mass": 2.0},))))


def test_what_would_be_downloaded_is_refused():
    with pytest.raises(UserError, match="Go1Getup needs the robots of MuJoCo Menagerie, which a run does not download"):
        make_environment(PlaygroundEnvironment(name="Go1Getup"))


def test_its_own_randomizers():
    workers = WorkersConfig(count=2, randomizer="playground:Go1JoystickFlatTerrain")
    assert callable(make_variation(workers).drawn.randomizer)
    with pytest.raises(UserError, match="playground:CartpoleBalance, of which Playground has no domain randomizer"):
        make_variation(WorkersConfig(count=2, randomizer="playground:CartpoleBalance"))
