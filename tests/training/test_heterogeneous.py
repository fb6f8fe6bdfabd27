"""Workers whose environments differ: Rennala leans toward the fast ones, Malenia does not."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic, brax_environment, linear_policy

from nigt_jax.config import EnvironmentChange, WorkersConfig, check_config
from nigt_jax.environments import Variation, Varied, check_variation, make_variation
from nigt_jax.environments._attributes import attributes
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS
from nigt_jax.runtimes import SimulatedRuntime

HORIZON = 3


class Weighed(Quadratic):
    """The quadratic probe with a reward weight."""

    def __init__(self):
        self._distance_weight = 1.0

    def step(self, state, action):
        """One move, and its weighed reward."""
        state = super().step(state, action)
        return state._replace(reward=self._distance_weight * state.reward)


WORKERS = {
    "count": 3,
    "compute_time": {"values": [1.0, 2.0, 6.0]},
    "communication_time": {"values": [0.0, 0.0, 0.0]},
    "environments": [
        {"workers": [2], "reward": {"distance_weight": 3.0}},
        {"workers": [3], "reward": {"distance_weight": -5.0}},
    ],
}
WEIGHTS = np.array([1.0, 3.0, -5.0])


def config(method, batch_size, workers=WORKERS, **training):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"normalize_observations": False},
            "estimator": {"name": "policy_gradient", "discount": 1.0},
            "method": {"name": method, "batch_size": batch_size, "learning_rate": 1.0},
            "workers": workers,
            "training": {"iterations": 1, "chunk": 1, "devices": 2, "platform": "cpu", "lanes": 4000, **training},
            "evaluation": {"episodes": 6},
        }
    )


def first_gradient(method, batch_size):
    """The aggregated gradient of the first round: what plain ascent with a step of 1 moves by."""
    plain = METHODS["rennala_pg"]
    ascent = METHODS[method]._replace(update=plain.update, model=plain.model)
    runtime = SimulatedRuntime(config(method, batch_size), Weighed(), policy=linear_policy(), method=ascent)
    runtime.compile()
    start = runtime.initial_state()
    before = jax.device_get(start.server.sent)
    after, metrics = runtime.run(start, 1)
    return jax.tree.map(lambda b, a: float(a[0] - b[0]), before, jax.device_get(after.server.sent)), metrics


def gradient_of_the_probe():
    params = linear_policy().init(jax.random.key(0))
    total = lambda p: sum(Quadratic.rewards([p["params"]] * HORIZON, HORIZON))
    return jax.tree.map(float, jax.grad(total)(params))


@pytest.mark.parametrize(
    ("method", "batch_size", "shares"),
    [
        pytest.param("rennala_nigt", 400_000, [0.6, 0.3, 0.1], marks=pytest.mark.slow),  # a worker's share is its speed
        ("malenia_nigt", 360_000, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_rennala_and_malenia_disagree_as_they_must(method, batch_size, shares):
    gradient, _ = first_gradient(method, batch_size)
    factor = float(np.dot(shares, WEIGHTS))  # of the gradient of the plain probe: 1.0 and -1/3, opposite directions
    for got, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_of_the_probe()), strict=True):
        assert got == pytest.approx(factor * wanted, abs=0.3)


def test_the_disagreement_is_large_enough_to_be_seen():
    assert max(abs(x) for x in jax.tree.leaves(gradient_of_the_probe())) > 1


@pytest.mark.slow
def test_every_workers_return_is_reported():
    runtime = SimulatedRuntime(config("malenia_nigt", 6), Weighed())
    runtime.compile()
    (record,) = runtime.evaluate(runtime.initial_state())
    by_worker = np.array(record["return_by_worker"])
    np.testing.assert_allclose(by_worker, by_worker[0] * WEIGHTS, rtol=1e-5)  # the same keys in every environment
    assert record["return_mean"] == pytest.approx(by_worker.mean())


def test_flipped_observations_come_with_a_bit():
    variation = lambda flip: Variation(*(jnp.ones([]),) * 4, {}, jnp.float32(flip))
    key = jax.random.key(3)
    plain = Quadratic().reset(key).obs
    np.testing.assert_allclose(Varied(Quadratic(), variation(0)).reset(key).obs, [plain[0], 0])
    flipped = Varied(Quadratic(), variation(1))
    state = flipped.reset(key)
    np.testing.assert_allclose(state.obs, [-plain[0], 1])
    after = flipped.step(state, jnp.array([0.3]))
    wanted = Quadratic().step(Quadratic().reset(key), jnp.array([0.3]))
    np.testing.assert_allclose(after.obs, [-wanted.obs[0], 1])
    np.testing.assert_allclose(after.reward, wanted.reward)


def test_changes_multiply():
    changes = (
        EnvironmentChange(workers=(1, 2), gravity=2.0, flip_observation=True),
        EnvironmentChange(workers=(2, 3), gravity=1.5, reward={"a_weight": 4.0}),
    )
    variation = make_variation(WorkersConfig(count=4, environments=changes))
    np.testing.assert_allclose(variation.gravity, [2, 3, 1.5, 1])
    np.testing.assert_allclose(variation.reward["a_weight"], [1, 4, 4, 1])
    np.testing.assert_allclose(variation.flip, [1, 1, 0, 0])
    assert make_variation(WorkersConfig(count=4)) is None


def test_a_weight_that_the_environment_has_not():
    workers = WORKERS | {"environments": [{"workers": [1], "reward": {"speed_weight": 2.0}}]}
    with pytest.raises(UserError, match="got reward weight speed_weight, this environment has: distance_weight"):
        SimulatedRuntime(config("malenia_nigt", 6, workers), Weighed())


def vary(**changes):
    """Two workers, of which the second one differs."""
    change = EnvironmentChange(workers=(2,), **changes)
    return make_variation(WorkersConfig(count=2, environments=(change,)))


class Spelled(Quadratic):
    """The weight is an attribute of another spelling."""

    def __init__(self):
        self.distance_weight = 2.0

    def step(self, state, action):
        """One move, and its weighed reward."""
        state = super().step(state, action)
        return state._replace(reward=self.distance_weight * state.reward)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """Nothing but slots, and nothing to be set."""

    _distance_weight: float = 2.0
    action_size: int = 1

    def reset(self, key):
        """A fresh start."""
        return Quadratic().reset(key)

    def step(self, state, action):
        """One move, and its weighed reward."""
        state = Quadratic().step(state, action)
        return state._replace(reward=self._distance_weight * state.reward)


class Fixed(NamedTuple):
    """A named tuple that is an environment."""

    distance_weight: float = 2.0
    action_size: int = 1

    def reset(self, key):
        """A fresh start."""
        return Quadratic().reset(key)

    def step(self, state, action):
        """One move, and its weighed reward."""
        state = Quadratic().step(state, action)
        return state._replace(reward=self.distance_weight * state.reward)


@pytest.mark.parametrize("kind", [Spelled, Slotted, Fixed])
def test_a_weight_by_any_spelling(kind):
    environment, key, action = kind(), jax.random.key(3), jnp.array([0.3])
    check_variation(environment, vary(reward={"distance_weight": 3.0}))
    with pytest.raises(UserError, match=r"got reward weight speed_weight, this environment has: distance_weight$"):
        check_variation(environment, vary(reward={"speed_weight": 3.0}))
    varied = Varied(environment, Variation(*(jnp.ones([]),) * 4, {"distance_weight": jnp.float32(3.0)}, None))
    wanted = 6 * Quadratic().step(Quadratic().reset(key), action).reward
    np.testing.assert_allclose(varied.step(varied.reset(key), action).reward, wanted, rtol=1e-6)
    assert 2.0 in attributes(environment).values()


class Unread(Weighed):
    """A second weight, of which nothing depends, and a third, which is 0."""

    def __init__(self):
        super().__init__()
        self._speed_weight, self._height_weight = 2.0, 0.0


class Later(Weighed):
    """The weight is felt only two steps later, by way of the state."""

    def reset(self, key):
        """Two numbers more."""
        return self._with(super().reset(key), jnp.zeros(2))

    def step(self, state, action):
        """What was the weight two steps ago is added to the observation."""
        memory = jnp.stack([state.obs[2] * 1.0, jnp.asarray(self._distance_weight, jnp.float32)])
        after = Quadratic.step(self, state._replace(obs=state.obs[:1]), action)
        return self._with(after, memory)

    @staticmethod
    def _with(state, memory):
        return state._replace(obs=jnp.concatenate([state.obs, memory]))


class Hidden(Later):
    """The same, but what is remembered is nowhere to be seen."""

    def __init__(self):
        super().__init__()
        self._memory_weight = 1.0

    def step(self, state, action):
        """The memory is of the other weight, and kept where it is."""
        return self._with(Quadratic.step(self, state._replace(obs=state.obs[:1]), action), state.obs[1:])


class Branches(Weighed):
    """Python's if on a reward weight."""

    def step(self, state, action):
        """No weight, no reward."""
        return super().step(state, action) if self._distance_weight > 0 else state


class Floating(Weighed):
    """Bodies of Brax that nothing pulls, touches or drives."""

    def __init__(self, environment):
        super().__init__()
        system = environment.sys
        nothing = jnp.zeros(3)
        self.sys = system.replace(gravity=nothing, opt=system.opt.replace(gravity=nothing))
        self.backend = "generalized"


@pytest.mark.parametrize(
    ("environment", "changes", "says"),
    [
        (Quadratic, {"gravity": 2.0}, "got gravity, which makes no difference: Quadratic has no physics of Brax"),
        (Quadratic, {"mass": 2.0}, "got mass, which makes no difference: Quadratic has no physics of Brax"),
        (Quadratic, {"friction": 0.0}, "got friction, which makes no difference"),
        (Quadratic, {"actuator_gain": 0.5}, "got actuator_gain, which makes no difference"),
        (
            Unread,
            {"reward": {"speed_weight": 2.0}},
            "got reward weight speed_weight, which makes no difference: in Unread neither observations nor rewards nor",
        ),
        (
            Unread,
            {"reward": {"height_weight": 2.0}},
            "got reward weight height_weight, .*: it is 0 in this environment",
        ),
        (
            Hidden,
            {"reward": {"memory_weight": 2.0}},
            "got reward weight memory_weight, which makes no difference: in Hid",
        ),
        (
            Branches,
            {"reward": {"distance_weight": 2.0}},
            r"Branches, its reward weights as arrays: JAX cannot trace it in test_heterogeneous.py, line \d+",
        ),
    ],
)
def test_a_difference_that_makes_none(environment, changes, says):
    with pytest.raises(UserError, match=says) as caught:
        check_variation(environment(), vary(**changes))
    assert "\n" not in str(caught.value)


def test_a_difference_that_makes_one():
    check_variation(Unread(), vary(reward={"distance_weight": 2.0, "speed_weight": 1.0, "height_weight": 1.0}))
    check_variation(Later(), vary(reward={"distance_weight": 2.0}))
    check_variation(Quadratic(), vary(flip_observation=True))
    check_variation(Quadratic(), vary(gravity=1.0))  # as in one of the runs of a comparison


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brax's own habits
def test_differences_in_physics_that_make_none():
    pendulum = brax_environment("inverted_pendulum", "generalized")
    check_variation(pendulum, vary(gravity=2.0, actuator_gain=2.0, mass=2.0))
    with pytest.raises(UserError, match="got friction, which makes no difference: in InvertedPendulum neither"):
        check_variation(pendulum, vary(friction=2.0))  # nothing touches anything
    with pytest.raises(
        UserError, match=r"got gravity, .*: the physics of Floating has nothing of the kind that is not 0"
    ):
        check_variation(Floating(pendulum), vary(gravity=2.0))
    with pytest.raises(UserError, match="got actuator_gain, which makes no difference: in Floating neither"):
        check_variation(Floating(pendulum), vary(actuator_gain=2.0))  # its step does not look at its physics


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_each_part_of_the_physics_makes_a_difference():
    environment = brax_environment("hopper", "spring")
    # Worker 0 is as it is; each of the others differs in one thing.
    factors = jnp.where(jnp.arange(6)[None, :] == jnp.arange(1, 6)[:, None], 0.3, 1.0)
    varied = Variation(*factors[:4], {"healthy_reward": factors[4]}, None)
    total = np.zeros(6)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        step = jax.jit(jax.vmap(lambda v, s, a: Varied(environment, v).step(s, a)))
        state = jax.vmap(lambda v: Varied(environment, v).reset(jax.random.key(5)))(varied)
        for k in range(40):
            state = step(varied, state, jnp.full((6, 3), 0.4 * (-1) ** (k // 5)))
            total += np.abs(np.asarray(state.reward) - float(state.reward[0]))
    gravity, mass, friction, gain, reward = total[1:] > 1e-3
    assert [gravity, friction, gain, reward] == [True] * 4, total
    # Brax leaves masses out of this environment on this backend, and we say so.
    assert not mass
    with pytest.raises(UserError, match="got mass, which Brax leaves out of this environment on spring"):
        check_variation(environment, varied)


@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_masses_are_those_of_the_model_too():
    environment = brax_environment("hopper", "generalized")
    heavy = Variation(*(jnp.float32(x) for x in (1, 2, 1, 1)), {}, None)
    check_variation(environment, heavy)
    before, after = environment.sys, Varied(environment, heavy)._environment.sys
    for get in (lambda s: s.link.inertia.mass, lambda s: s.link.inertia.i, lambda s: s.body_mass):
        np.testing.assert_allclose(get(after), 2 * np.asarray(get(before)), rtol=1e-6)
    assert environment.sys is before
