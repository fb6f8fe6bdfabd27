"""Probe environments with known answers, and a policy small enough to know what they are.

They speak Brax's interface: reset(key) -> state, step(state, action) -> state, with obs, reward and done in the state.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.config import BraxEnvironment
from nigt_jax.environments import make_environment
from nigt_jax.policies import Policy
from nigt_jax.rollout import Tasks, Trajectories, rollout


class State(NamedTuple):
    """What a probe knows."""

    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Linear(nn.Module):
    """u ~ N(w s + b, softplus(c)^2): one number each."""

    action_size: int = 1

    @nn.compact
    def __call__(self, observation):
        w, b, c = (
            self.param(name, nn.initializers.constant(x), ()) for name, x in (("w", -0.3), ("b", 0.2), ("c", 0.1))
        )
        mean = w * observation[..., :1] + b
        return mean, jnp.broadcast_to(nn.softplus(c), mean.shape)


def linear_policy(normalize: bool = False) -> Policy:
    """The policy of the probes."""
    return Policy(Linear(), observation_size=1, normalize=normalize)


class Quadratic:
    """s' = s + u, reward -s'^2, start from N(0.5, 0.1^2): every expectation follows from means and variances."""

    observation_size = action_size = 1

    def reset(self, key: jax.Array) -> State:
        """A fresh start."""
        return State(0.5 + 0.1 * jax.random.normal(key, (1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: State, action: jax.Array) -> State:
        """One move by the sample before tanh."""
        obs = state.obs + jnp.arctanh(action)
        return State(obs, -jnp.square(obs[0]), state.done)

    @staticmethod
    def rewards(params: Any, horizon: int) -> list[jax.Array]:
        """Expected reward of each step, where step t acts by ``params[t]``."""
        m, v, expected = 0.5, 0.01, []
        for t in range(horizon):
            w, b, c = (params[t][name] for name in "wbc")
            m, v = (1 + w) * m + b, (1 + w) ** 2 * v + nn.softplus(c) ** 2
            expected.append(-(m**2 + v))
        return expected


class EndsWhenChosen:
    """The same with a choice of three: the last one earns 1 more and ends the episode."""

    num_actions = 3

    def reset(self, key: jax.Array) -> State:
        """The only start."""
        del key
        return State(jnp.ones((1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: State, action: jax.Array) -> State:
        """An action is a whole number."""
        assert (action.shape, action.dtype) == ((), jnp.int32)
        good = (action == 2).astype(jnp.float32)
        return State(state.obs, 0.3 + good, jnp.maximum(state.done, good))


class EndsWhenGood:
    """0.3 a step; an action above zero earns 1 more and ends the episode."""

    observation_size = action_size = 1

    def reset(self, key: jax.Array) -> State:
        """The only start."""
        del key
        return State(jnp.ones((1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: State, action: jax.Array) -> State:
        """Good actions end the episode; afterwards rewards go on, for a careless reader to count."""
        good = (action[0] > 0).astype(jnp.float32)
        return State(state.obs, 0.3 + good, jnp.maximum(state.done, good))

    @staticmethod
    def rewards(params: Any, horizon: int) -> list[jax.Array]:
        """Expected reward of each step, where step t acts by ``params[t]``."""
        reached, expected = 1.0, []
        for t in range(horizon):
            w, b, c = (params[t][name] for name in "wbc")
            good = jax.scipy.stats.norm.cdf((w + b) / nn.softplus(c))
            expected.append(reached * (0.3 + good))
            reached = reached * (1 - good)
        return expected

    @classmethod
    def expected_return(cls, policy: Policy, horizon: int) -> float:
        """The expected return of the policy as it is at first."""
        params = policy.init(jax.random.key(0))["params"]
        return float(sum(cls.rewards([params] * horizon, horizon)))


class Breaks:
    """Reward 1 a step; the observation turns NaN once an action exceeds 0.5."""

    observation_size = action_size = 1

    def reset(self, key: jax.Array) -> State:
        """The only start."""
        del key
        return State(jnp.zeros((1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state: State, action: jax.Array) -> State:
        """One step, or the end of all sense."""
        obs = jnp.where(action > 0.5, jnp.nan, state.obs)
        return State(obs, jnp.ones(()), state.done)


class Costly(Breaks):
    """Costs 1 a step; the observation turns NaN once an action exceeds 0.5, and every missed step costs `CHARGE`."""

    CHARGE = -1.5

    def reset(self, key: jax.Array) -> State:
        """The only start."""
        return super().reset(key)._replace(obs=jnp.ones((1,)))

    def step(self, state: jax.Array, action: jax.Array) -> State:
        """One step, or the end of all sense."""
        return super().step(state, action)._replace(reward=-jnp.ones(()))

    @classmethod
    def rewards(cls, params: Any, horizon: int) -> list[jax.Array]:
        """Expected reward of each step, where step t acts by ``params[t]``."""
        whole, expected = 1.0, []
        for t in range(horizon):
            w, b, c = (params[t][name] for name in "wbc")
            whole = whole * jax.scipy.stats.norm.cdf((jnp.arctanh(0.5) - w - b) / nn.softplus(c))
            expected.append(-whole + (1 - whole) * cls.CHARGE)
        return expected


class FaultyState(NamedTuple):
    """What a faulty environment knows: what shows, where it really is, and the randomness of its faults."""

    obs: jax.Array
    reward: jax.Array
    done: jax.Array
    place: jax.Array
    key: jax.Array


class Faulty:
    """The quadratic probe, some of whose steps go wrong whatever the policy does, and in one field alone.

    Of "reward", "observation" and "done" one step goes wrong, of "start" the first observation, and what follows would
    be in order again. Of "place" it is the state that cannot be seen, which shows in the step after.
    """

    observation_size = action_size = 1
    FIELDS = "reward", "observation", "place", "done", "start"

    def __init__(self, field: str | jax.Array, rate: Any, value: Any = float("nan")):
        """The field may be its number in FIELDS, and all three may be traced."""
        self.field = self.FIELDS.index(field) if isinstance(field, str) else field
        self.rate, self.value = rate, value

    def reset(self, key: jax.Array) -> FaultyState:
        """A fresh start."""
        own, place = jax.random.key_data(jax.random.fold_in(key, 1)), Quadratic().reset(key).obs
        return FaultyState(self._wrong("start", own, 0, place), jnp.zeros(()), jnp.zeros(()), place, own)

    def step(self, state: FaultyState, action: jax.Array) -> FaultyState:
        """One move by the sample before tanh."""
        own = jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(state.key), 0))
        wrong = lambda field, number, value: self._wrong(field, own, number, value)
        place = state.place + jnp.arctanh(action)
        return FaultyState(
            obs=wrong("observation", 1, place),
            reward=wrong("reward", 1, -jnp.square(place[0])),
            done=wrong("done", 1, state.done),
            place=wrong("place", 1, place),
            key=own,
        )

    def _wrong(self, field: str, key: jax.Array, number: int, value: jax.Array) -> jax.Array:
        chosen = jax.random.bernoulli(jax.random.fold_in(jax.random.wrap_key_data(key), number), self.rate)
        return jnp.where((self.field == self.FIELDS.index(field)) & chosen, self.value, value)


class Dense(NamedTuple):
    """Episodes side by side, time first; zero after an episode's end. What a reader of arrays wants."""

    observation: jax.Array
    sample: jax.Array
    reward: jax.Array
    alive: jax.Array
    returns: jax.Array
    lengths: jax.Array
    diverged: jax.Array


def dense(batch: Trajectories) -> Dense:
    """Every episode from its own start, wherever the lanes have played it."""
    row = jnp.minimum(batch.outcomes.row[None, :] + jnp.arange(batch.horizon)[:, None], batch.reward.shape[0] - 1)
    lane, alive = jnp.broadcast_to(batch.outcomes.lane[None, :], row.shape), batch.alive()
    pick = lambda x: jnp.where(alive.reshape(*alive.shape, *[1] * (x.ndim - 2)), x[row, lane], 0)
    columns = (pick(x) for x in (batch.observation, batch.sample, batch.reward))
    return Dense(*columns, alive, batch.returns, batch.lengths, batch.outcomes.diverged)


def expected_gradient(environment: Any, params: Any, horizon: int, discount: float, from_start: bool) -> np.ndarray:
    """Of the linear policy, by name: each step's discounted return to go with respect to that step's own action.

    Discounted from the start of the episode, or from the step.
    """
    inner = {k: np.float32(v) for k, v in params["params"].items()}

    def to_go(own: Any, t: int) -> Any:
        rewards = environment.rewards([own if k == t else inner for k in range(horizon)], horizon)
        return sum(discount ** (h if from_start else h - t) * rewards[h] for h in range(t, horizon))

    parts = [jax.grad(to_go)(inner, t) for t in range(horizon)]
    return np.array([float(sum(p[name] for p in parts)) for name in "bcw"])


def deviations(samples: np.ndarray, truth: np.ndarray, least: float = 20) -> np.ndarray:
    """How many standard errors the mean of the samples is away from the truth, per parameter.

    The truth has to be `least` of them away from nothing, or the samples could not tell it.
    """
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    assert np.abs(truth / error).max() > least, "too noisy to tell anything"
    return np.abs(samples.mean(0) - truth) / error


def one_policy(params, normalizer, keys, active, variation=None, charge=0.0) -> Tasks:
    """Tasks of a single group; `params` and `normalizer` without the axis of groups."""
    params, normalizer = jax.tree.map(lambda x: x[None], (params, normalizer))
    return Tasks(keys, active, params, normalizer, variation, jnp.full(1, charge, jnp.float32))


def play(
    environment, policy, params, normalizer, keys, active, horizon, widths=None, variation=None, charge=0.0
) -> Trajectories:
    """Episodes of one policy, by default all of them side by side."""
    tasks = one_policy(params, normalizer, keys, active, variation, charge)
    return rollout(environment, policy, tasks, horizon, widths or (keys.shape[0],), lanes_last=True)


def brax_environment(name: str, backend: str) -> Any:
    """An environment of Brax by its name."""
    return make_environment(BraxEnvironment(name=name, backend=backend))


def grouped(tree: Any) -> Any:
    """A single group's, with the axis of groups."""
    return jax.tree.map(lambda x: jnp.asarray(x)[None], tree)


def alone(tree: Any) -> Any:
    """The other way round."""
    return jax.tree.map(lambda x: x[0], tree)
