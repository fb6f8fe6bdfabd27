"""Environments that are almost right: one line names the field. Those that are right in another way are played."""

import importlib
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Breaks, EndsWhenGood, Quadratic, linear_policy, play

import nigt_jax
from nigt_jax.config import check_config
from nigt_jax.environments import first_state, in_32_bits
from nigt_jax.errors import UserError
from nigt_jax.runtimes import SimulatedRuntime

# After the package, which keeps to itself what Brax says when it is imported.
envs = importlib.import_module("brax.envs")
wrappers = importlib.import_module("brax.envs.wrappers.training")


class State(NamedTuple):
    """One more field than it needs."""

    obs: Any
    reward: Any
    done: Any
    metrics: Any = ()


ZERO, OBS = np.zeros((), np.float32), np.zeros(1, np.float32)


class Made:
    """An environment that gives what it is told to: 1 at each step, unless it says otherwise."""

    action_size = 1

    def __init__(self, reset=None, step=None, **attributes):
        self._states = {"obs": OBS, "reward": ZERO, "done": ZERO} | (reset or {}), step or {}
        for name, value in attributes.items():
            setattr(self, name, value)

    def reset(self, key):
        """The only start."""
        del key
        return State(**{name: self._made(value) for name, value in self._states[0].items()})

    def step(self, state, action):
        """One step."""
        del action
        plain = state._replace(reward=jnp.ones_like(state.reward))
        return plain._replace(**{name: self._made(value) for name, value in self._states[1].items()})

    @staticmethod
    def _made(value):
        return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def number(dtype, shape=()):
    return np.zeros(shape, dtype)


REFUSED = {
    "done is a bool in step only": (
        Made(step={"done": number(bool)}),
        r"Made.step: done is bool\[\], after reset float32\[\]; wanted: the same, such as float32 in both",
    ),
    "an integer reward in step only": (
        Made(step={"reward": number(np.int32)}),
        r"Made.step: reward is int32\[\], after reset float32\[\]; wanted: the same, such as float32 in both",
    ),
    "observations are a mapping": (
        Made({"obs": {"joints": OBS, "eyes": OBS}}),
        r"Made.reset: obs is a dict of joints, eyes, wanted: one array of one dimension, such as jnp.concatenate",
    ),
    "observations are a list": (Made({"obs": [OBS]}), "Made.reset: obs is a list, wanted: one array"),
    "a metric that appears later": (
        Made({"metrics": {}}, {"metrics": {"speed": ZERO}}),
        r"Made.step: gives metrics\['speed'\], which reset does not; wanted: the same fields after both",
    ),
    "a metric that is gone": (
        Made({"metrics": {"speed": ZERO}}, {"metrics": {}}),
        r"Made.step: does not give metrics\['speed'\], which reset does; wanted: the same fields after both",
    ),
    "None, and then something": (Made({"metrics": None}, {"metrics": ZERO}), "Made.step: gives metrics, which reset"),
    "other containers": (
        Made({"metrics": [ZERO]}, {"metrics": (ZERO,)}),
        "Made.step: the state has a tuple .*, after reset a list .* in its place; wanted: the same",
    ),
    "another shape": (
        Made(step={"obs": number(np.float32, 2)}),
        r"Made.step: obs is float32\[2\], after reset float32\[1\]; wanted: the same$",
    ),
    "another kind of key": (
        Made({"metrics": jax.random.key(0)}, {"metrics": jax.random.PRNGKey(0)}),
        r"Made.step: metrics is uint32\[2\], after reset key<fry>\[\]; wanted: the same$",
    ),
    "a batch": (
        Made({"obs": number(np.float32, (5, 3)), "reward": number(np.float32, 5), "done": number(np.float32, 5)}),
        r"Made.reset: gives a batch of 5 environments .*; wanted: a single one",
    ),
    "reward is an array": (
        Made({"reward": number(np.float32, 1)}),
        r"Made.reset: reward is float32\[1\], wanted: a single real number, float32\[\]",
    ),
    "done is complex": (
        Made({"done": number(np.complex64)}),
        r"Made.reset: done is complex64\[\], wanted: a single real",
    ),
    "observations are a number": (Made({"obs": ZERO}), r"Made.reset: obs is float32\[\], wanted: one dimension"),
    "observations are integers": (
        Made({"obs": number(np.int32, 2)}),
        r"obs is int32\[2\], wanted: .* floating numbers",
    ),
    "text in the state": (
        Made({"metrics": {"name": "x"}}),
        r"Made.reset: metrics\['name'\] is a str, wanted: arrays and numbers only",
    ),
    "a class": (Quadratic, "environment: got the class Quadratic, wanted: an instance of it"),
    "a name": (
        "hopper",
        r"environment: got str, which has no reset\(key\); wanted: an environment such as those of Brax",
    ),
    "nothing": (None, "environment: got NoneType, which has no reset"),
    "no size": (Made(action_size=None), "Made.action_size: got None, wanted: .* an int of at least 1"),
    "a size that is a method": (Made(action_size=lambda: 1), "Made.action_size: got a function, wanted"),
    "a size that is no whole number": (Made(action_size=1.0), "Made.action_size: got 1.0, wanted"),
    "a size of nothing": (Made(action_size=0), "Made.action_size: got 0, wanted"),
}


class Pair(Made):
    """As of gymnax."""

    def reset(self, key):
        """An observation, and a state."""
        return OBS, super().reset(key)


class Untyped(Made):
    """A state that JAX does not know."""

    def reset(self, key):
        """Like a state, but no pytree."""
        given = type("Given", (), {})()
        vars(given).update(super().reset(key)._asdict())
        return given


class Branches(Made):
    """Python's if on a value that is not known yet."""

    def step(self, state, action):
        """Two ways."""
        return super().step(state, action) if action[0] > 0 else state


class Leaves(Made):
    """NumPy on a value that is not known yet."""

    def step(self, state, action):
        """Out of JAX."""
        return state._replace(obs=jnp.asarray(np.tanh(np.asarray(action))))


class Keeps(Made):
    """A state beside the state."""

    def reset(self, key):
        """Remembers the key."""
        self.key = key
        return super().reset(key)


class UsesWhatItKeeps(Keeps):
    """And uses it."""

    def step(self, state, action):
        """With what reset has kept."""
        del action
        return state._replace(obs=state.obs + jax.random.normal(self.key, (1,)))


class Imperative:
    """As of Gymnasium, but for its name."""

    action_size = 1

    def reset(self, key=None):
        """It knows its own state."""

    def step(self, action):
        """And takes an action only."""


Foreign = type("Foreign", (), {"__module__": "gymnasium.envs.classic_control"})

REFUSED |= {
    "a tuple": (Pair(), "Pair.reset: gives a tuple, which has no obs; wanted: a state with obs, reward and done"),
    "no pytree": (Untyped(), "Untyped.reset: gives a Given, which is no pytree"),
    "branches": (Branches(), r"Branches.step: JAX cannot trace it in test_check.py, line \d+: Attempted boolean conv"),
    "NumPy": (Leaves(), r"Leaves.step: JAX cannot trace it in test_check.py, line \d+: The numpy.ndarray conversion"),
    "kept": (Keeps(), "Keeps.key: was set by reset or step; wanted: what changes is in the state"),
    "kept and used": (UsesWhatItKeeps(), "UsesWhatItKeeps.key: was set by reset or step; wanted"),
    "imperative": (Imperative(), r"Imperative.step: takes \(action\), wanted: step\(state, action\)"),
    "of Gymnasium": (
        Foreign(),
        r"environment: got Foreign, which has the interface of Gymnasium; wanted: that of Brax",
    ),
    "batch wrapper": (
        wrappers.VmapWrapper(Made()),
        "got one in Brax's VmapWrapper, which is a batch of environments; wanted: .*out",
    ),
    "cut": (
        wrappers.EpisodeWrapper(Made(), 9, 1),
        "got one in Brax's EpisodeWrapper, which .* environment.horizon cuts them",
    ),
    "automatic": (
        wrappers.AutoResetWrapper(envs.base.Wrapper(Made())),
        "environment: got one in Brax's AutoResetWrapper, which starts an episode again from a state that it keeps",
    ),
    "inside": (envs.base.Wrapper(wrappers.VmapWrapper(Made())), "environment: got one in Brax's VmapWrapper"),
}


@pytest.mark.parametrize(("environment", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_named(environment, says):
    for check in (first_state, nigt_jax.check_environment):
        with pytest.raises(UserError, match=says) as caught:
            check(environment)
        assert "\n" not in str(caught.value)


def test_an_error_of_the_environments_own_stays_what_it_is():
    with pytest.raises(FileNotFoundError, match="mesh"):
        nigt_jax.check_environment(Mesh())


class Mesh(Made):
    """A file that is missing."""

    def step(self, state, action):
        """Reads it."""
        del state, action
        raise FileNotFoundError("mesh.stl")


def test_the_first_observation_is_finite():
    environment = Made({"obs": np.array([0, np.nan, np.inf], np.float32)})
    first_state(environment)  # which computes nothing
    with pytest.raises(UserError, match=r"Made.reset: obs\[1\] is nan, wanted: finite numbers"):
        nigt_jax.check_environment(environment)


@pytest.mark.parametrize("environment", [Quadratic(), EndsWhenGood(), Breaks()], ids=lambda e: type(e).__name__)
def test_the_probes_are_right(environment):
    nigt_jax.check_environment(environment)


@pytest.mark.parametrize(
    ("name", "backend", "size"), [("fast", "spring", 2), ("inverted_pendulum", "mjx", 4), ("reacher", "spring", 11)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brax's own habits
def test_those_of_brax_are_right(name, backend, size):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        environment = envs.get_environment(name, backend=backend)
    assert first_state(environment).obs.shape == (size,)


@flax.struct.dataclass
class Dataclass:
    """A state as Brax has it."""

    obs: Any
    reward: Any
    done: Any


class Plain(Made):
    """A state of Python's own numbers at first."""

    def reset(self, key):
        """The only start."""
        del key
        return Dataclass(jnp.zeros(1), 0, 0.0)

    def step(self, state, action):
        """One step."""
        del action
        return Dataclass(state.obs, jnp.ones([]), jnp.zeros([]))


ACCEPTED = {
    "Python's numbers": Plain(),
    "integers": Made({"reward": number(np.int32), "done": number(np.int32)}),
    "booleans": Made({"reward": number(bool), "done": number(bool)}),
    "half precision": Made({"obs": OBS.astype(jnp.bfloat16), "reward": ZERO.astype(jnp.float16)}),
    "a key": Made({"metrics": jax.random.key(0)}),
    "an inner wrapper": envs.base.Wrapper(Made()),
}


@pytest.mark.parametrize("environment", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_harmless_is_played(environment):
    first_state(environment)
    policy = linear_policy()
    params, normalizer = policy.init(jax.random.key(0)), policy.init_normalizer()
    keys = jax.random.split(jax.random.key(1), 3)
    played = play(environment, policy, params, normalizer, keys, jnp.ones(3, bool), horizon=4, widths=(2,))
    np.testing.assert_array_equal(played.returns, 4.0)
    assert played.returns.dtype == played.reward.dtype == played.observation.dtype == jnp.float32


RUN = check_config(
    {
        "environment": {"name": "fast", "horizon": 3},
        "policy": {"hidden_sizes": [4]},
        "method": {"batch_size": 2},
        "training": {"devices": 1, "platform": "cpu"},
    }
)


class Slots:
    """Nothing that could be set, and no dictionary."""

    __slots__ = ()
    action_size = 1
    reset, step = Quadratic.reset, Quadratic.step


class Fields(NamedTuple):
    """An environment that is a named tuple."""

    start: Any = 0.0
    action_size: int = 1

    def reset(self, key):
        """A fresh start."""
        return Quadratic().reset(key)

    def step(self, state, action):
        """One move."""
        return Quadratic().step(state, action)._replace(obs=state.obs + action + self.start)


class Itself(Fields):
    """What holds itself, as a wrapper holds what it wraps."""

    def __init__(self):
        self.unwrapped = self.env = self


class Range(Quadratic):
    """Of 64 bits where JAX has them."""

    def step(self, state, action):
        """The first of two numbers is 0."""
        return super().step(state, action)._replace(obs=(state.obs + action)[:1] + jnp.arange(2.0)[:1])


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("kind", [Slots, Fields, Itself, Range])
def test_the_check_and_training_agree(kind, x64):
    with jax.enable_x64(x64):
        environment = kind()
        nigt_jax.check_environment(environment)
    with jax.enable_x64(False):
        assert in_32_bits(environment) is environment  # there is nothing to narrow
        SimulatedRuntime(RUN, environment)


def test_what_is_no_environment_is_told_before_it_is_looked_into():
    for wrong in ("hopper", None, 3, Quadratic, [Quadratic()]):
        with pytest.raises(UserError, match=r"^environment: got "):
            in_32_bits(wrong)


def test_arrays_of_64_bits_are_narrowed_wherever_they_are():
    with jax.enable_x64(True):
        wide = jnp.arange(2.0)[0]
        one, other, fields = Itself(), Made(start=wide, table={"x": [wide]}), Fields(start=wide)
        one.parts, other.outer = [other, fields, Quadratic], one
        nigt_jax.check_environment(one)
    narrow = in_32_bits(one)
    made, inner, kind = narrow.parts
    assert narrow.unwrapped is narrow.env is made.outer is narrow is not one
    assert kind is Quadratic
    assert {x.dtype for x in (made.start, made.table["x"][0], inner.start)} == {jnp.dtype("float32")}
    assert {x.dtype for x in (other.start, fields.start)} == {jnp.dtype("float64")}  # the user's own
