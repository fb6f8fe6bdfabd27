r"""A cluster: N agents, N servers, and a task or none for every agent in every step.

Each agent sends its task to a server, all at once. With the servers' load L, capacity C and the demand d of the tasks,
for CPU and memory alike,

.. math::
    x_n = \frac{L_n + \sum_{i: a_i = n} d_i}{C_n}, \qquad
    \text{cost} = \operatorname{mean}(x^2) + w \operatorname{mean}(\max(x - 1, 0)), \qquad
    L_n' = \max(x_n - \text{drain}, 0)\, C_n .

Demand is scaled so that what arrives in a step is, in the mean, ``load`` times what all servers can work off in one,
however many agents there are. Tasks do not depend on actions: whoever is given the same key gets the same tasks.

The source has a simulator of its own that is not public. What is known of it is kept: servers differ, as the machines
that a cloud rents out; tasks are of two kinds, one of them heavy-tailed; arrivals rise and fall. The numbers are
decided here.

References:
  Yang & Liu, `Descent-Guided Policy Gradient <https://arxiv.org/abs/2602.20078>`_, 2026
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.config.systems import CloudConfig

FEATURES = 8  # of a server, as an agent sees it


class CloudState(NamedTuple):
    """The cluster before the agents act.

    Attributes:
      load: work that each server still has, CPU and memory.
      demand: of each agent's task; zeros where it has none.
      time: steps of the episode that have passed.
    """

    load: Float[Array, "servers 2"]
    demand: Float[Array, "agents 2"]
    time: Int[Array, ""]


class Outcome(NamedTuple):
    """What the agents' actions have made of a step.

    Attributes:
      utilisation: x, load over capacity of each server with the new tasks, before anything is worked off.
      cost: of the step.
    """

    utilisation: Float[Array, "servers 2"]
    cost: Float[Array, ""]


class Cloud:
    """The cluster's fixed numbers, and its transitions as pure functions.

    Args:
      settings: its section of the configuration.
      agents: how many agents there are, and servers.

    Attributes:
      capacity: CPU and memory of each server; shape [servers, 2].
      task: demand of a task of size 1; shape [2].
    """

    def __init__(self, settings: CloudConfig, agents: int):
        self.settings, self.agents = settings, agents
        cpu, ratio = (np.resize(np.asarray(x), agents) for x in (settings.cpu, settings.memory_ratio))
        self.capacity = np.stack([cpu, cpu * ratio], 1).astype(np.float32)
        arriving = agents * settings.arrival_rate * _mean_size(settings)
        self.task = (settings.load * settings.drain * self.capacity.sum(0) / arriving).astype(np.float32)

    def begin(self, key: PRNGKeyArray) -> CloudState:
        """Idle servers, and the first tasks.

        Args:
          key: of all tasks of the episode.
        """
        start = jnp.zeros([], jnp.int32)
        return CloudState(jnp.zeros((self.agents, 2)), self.tasks(start, key), start)

    def step(self, state: CloudState, action: Int[Array, " agents"], key: PRNGKeyArray) -> tuple[CloudState, Outcome]:
        """The cluster before the next step, and what this one was like.

        Args:
          state: before the actions.
          action: the server that each agent sends its task to, from 0.
          key: of all tasks of the episode.
        """
        x = self.utilisation(state.load, state.demand, jax.nn.one_hot(action, self.agents))
        left = jnp.maximum(x - self.settings.drain, 0) * self.capacity
        time = state.time + 1
        return CloudState(left, self.tasks(time, key), time), Outcome(x, self.cost(x))

    def tasks(self, time: Int[Array, ""], key: PRNGKeyArray) -> Float[Array, "agents 2"]:
        """Demand of the tasks that arrive in a step; zeros for who gets none."""
        own, agents = self.settings, (self.agents,)
        arrives, heavy, uniform, tail, kind = jax.random.split(jax.random.fold_in(key, time), 5)
        wave = jnp.sin(time.astype(jnp.float32) * (2 * np.pi / own.arrival_period))
        here = jax.random.bernoulli(arrives, own.arrival_rate + own.arrival_swing * wave, agents)
        large = own.heavy_scale * jnp.minimum(jax.random.pareto(tail, own.heavy_exponent, agents), own.heavy_cap)
        small = jax.random.uniform(uniform, agents, minval=0.5, maxval=1.5)
        size = jnp.where(jax.random.bernoulli(heavy, own.heavy_share, agents), large, small)
        spread = jnp.where(jax.random.bernoulli(kind, 0.5, agents), own.memory_spread, -own.memory_spread)
        demand = jnp.stack([size, size * (1 + spread)], 1) * self.task[None, :]
        return jnp.where(here[:, None], demand, 0)

    def utilisation(
        self, load: Float[Array, "servers 2"], demand: Float[Array, "agents 2"], shares: Float[Array, "agents servers"]
    ) -> Float[Array, "servers 2"]:
        """x, where `shares` of each agent's task go to each server: a one-hot row for an action."""
        sent = jnp.einsum("is,ir->sr", shares, demand, precision=jax.lax.Precision.HIGHEST)
        return (load + sent) / self.capacity

    def cost(self, utilisation: Float[Array, "servers 2"]) -> Float[Array, ""]:
        """Of a step; large where work is spread unevenly, or more than there is capacity for."""
        overload = jnp.maximum(utilisation - 1, 0)
        return jnp.mean(jnp.square(utilisation)) + self.settings.overload_weight * jnp.mean(overload)

    def reference(self, state: CloudState) -> Float[Array, " 2"]:
        """The utilisation that all servers would have if work could be split evenly; no action moves it."""
        return (state.load.sum(0) + state.demand.sum(0)) / self.capacity.sum(0)

    def influence(self, demand: Float[Array, "agents 2"]) -> Float[Array, "agents servers 2"]:
        """z: how much each agent's task adds to the utilisation of each server, if it is sent there."""
        return demand[:, None, :] / self.capacity[None, :, :]

    def guidance(self, state: CloudState, action: Int[Array, " agents"], outcome: Outcome) -> Float[Array, " agents"]:
        r"""Each agent's :math:`g_i = \langle x - \tilde x, z_i \rangle`; only its own server is in the product."""
        z = jnp.take_along_axis(self.influence(state.demand), action[:, None, None], 1)[:, 0]
        return jnp.sum((outcome.utilisation[action] - self.reference(state)[None, :]) * z, axis=1)

    def observe(self, state: CloudState) -> Float[Array, "agents servers 8"]:
        """What each agent sees of each server: :data:`FEATURES` numbers.

        They are the server's utilisation, what the agent's task would add to it, how large the server is beside the
        mean, and the utilisation of all servers together; CPU and memory each. It does not see the others' tasks.
        """
        shape = (self.agents, self.agents, 2)
        mean = self.capacity.mean(0, keepdims=True)
        common = state.load.sum(0, keepdims=True) / self.capacity.sum(0, keepdims=True)
        seen = (
            jnp.broadcast_to(jnp.log1p(state.load / self.capacity)[None], shape),
            jnp.log1p(self.influence(state.demand)),
            jnp.broadcast_to(jnp.log(self.capacity / mean)[None], shape),
            jnp.broadcast_to(jnp.log1p(common)[None], shape),
        )
        return jnp.concatenate(seen, axis=2)

    def summary(self, state: CloudState, central: bool) -> Float[Array, "values numbers"]:
        """What values are told of: the whole state, or what each agent sees of it.

        Args:
          state: before the actions.
          central: one row, with the demand of all tasks and how many they are; otherwise a row for each agent, with
            its own task and whether it has one.
        """
        phase = state.time.astype(jnp.float32) * (2 * np.pi / self.settings.arrival_period)
        left = 1 - state.time.astype(jnp.float32) / self.settings.steps
        common = jnp.concatenate(
            [jnp.log1p(state.load / self.capacity).reshape(-1), jnp.stack([left, jnp.sin(phase), jnp.cos(phase)])]
        )
        there = (state.demand[:, :1] > 0).astype(jnp.float32)
        own = jnp.concatenate([state.demand / self.capacity.mean(0, keepdims=True), there], axis=1)
        if central:
            own = own.mean(0, keepdims=True)
        return jnp.concatenate([jnp.broadcast_to(common[None], (len(own), common.size)), own], axis=1)


def _mean_size(settings: CloudConfig) -> float:
    """Of a task, in units of the mean of those that are not heavy."""
    below = settings.heavy_exponent - 1
    capped = 1 + (1 - settings.heavy_cap**-below) / below
    return 1 - settings.heavy_share + settings.heavy_share * settings.heavy_scale * capped
