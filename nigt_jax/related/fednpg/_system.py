"""FedNPG and FedNAC as systems."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.clocks import ClockState
from nigt_jax.config.systems import FednpgConfig
from nigt_jax.records import Record
from nigt_jax.related._lockstep import Lockstep
from nigt_jax.related._system import Counted, Scalars
from nigt_jax.related._weights import make_graph
from nigt_jax.related.fednpg._linear import Linear, begin_linear, linear_step, log_linear
from nigt_jax.related.fednpg._softmax import Softmax, begin_softmax, mean_policy, softmax_step
from nigt_jax.related.fednpg._world import World, grid_world, optimum, state_values, visits
from nigt_jax.related.graph import mixing_rate


class FednpgState(NamedTuple):
    """A run of FedNPG or FedNAC.

    Attributes:
      agents: what agents keep.
      clock: simulated time.
    """

    agents: Softmax | Linear
    clock: ClockState


class Fednpg:
    """FedNPG, or FedNAC where the policy is linear, in a grid world; see :class:`nigt_jax.related.System`.

    An evaluation tells of the policy that all agents have together, under the mean of their rewards: ``return_mean``
    (discounted, and with the entropy's reward where that is in the objective), ``gap`` (how much of the optimum is
    missing), ``disagreement`` (total variation between the common policy and that of the agent that is farthest from
    it, where the common policy goes), and ``tracking_error`` (largest difference between the trackers' mean and that of
    what they track).

    Args:
      config: its configuration.
    """

    x64, headline = True, "gap"

    def __init__(self, config: FednpgConfig):
        self.config, own, agents = config, config.method, config.workers.count
        links, self._weights = make_graph(config.graph, agents)
        self._linear = own.policy == "linear"
        self._entropy = 0.0 if self._linear else own.entropy
        side = config.world.side
        with jax.enable_x64(self.x64):
            self._world: World = grid_world(side, agents, config.world.discount, config.seed)
            self._features = row_and_column(side)
            self._best = optimum(self._world, self._entropy)
        table = self._features.shape[-1] if self._linear else 2 * side * side  # two actions
        self._lockstep = Lockstep(config.workers, table)
        # Of each iteration two exchanges, one after the other: of policies, and of trackers.
        self._messages, self._numbers = 2 * int(links.sum()), 2 * table * int(links.sum())

    def begin(self, key: PRNGKeyArray) -> FednpgState:
        """Every policy even."""
        shape, real = self._world.rewards.shape, self._world.rewards.dtype
        clock_key, own_key = jax.random.split(key)
        if self._linear:
            agents: Softmax | Linear = begin_linear(shape[0], self._features.shape[-1], own_key, real)
        else:
            even = jnp.full(shape, -np.log(shape[2]), real)
            agents = begin_softmax(self._world, even, jnp.asarray(self._entropy, real))
        return FednpgState(agents, self._lockstep.begin(clock_key))

    def step(self, state: FednpgState) -> tuple[FednpgState, Counted, Scalars]:
        """One iteration of all agents."""
        own, real = self.config.method, self._world.rewards.dtype
        agents: Softmax | Linear
        weights, rate = jnp.asarray(self._weights, real), jnp.asarray(own.learning_rate, real)
        played = jnp.int32(0)
        if isinstance(state.agents, Linear):
            step, samples = jnp.asarray(own.critic_step, real), own.critic_samples
            agents, played = linear_step(
                state.agents, self._world, self._features, weights, rate, step, samples, tracking=own.tracking
            )
        else:
            entropy = jnp.asarray(self._entropy, real)
            agents = softmax_step(state.agents, self._world, weights, rate, entropy, tracking=own.tracking)
        clock = self._lockstep.step(state.clock)
        counted = Counted(
            gradients=jnp.int32(self.config.workers.count),
            env_steps=played.astype(jnp.int32),
            messages=jnp.int32(self._messages),
            numbers=jnp.int32(self._numbers),
            time=clock.now,
        )
        return FednpgState(agents, clock), counted, {}

    def evaluate(self, state: FednpgState) -> Scalars:
        """Of the policy that all agents have together, exactly."""
        entropy = jnp.asarray(self._entropy, self._world.rewards.dtype)
        each = self._log_policies(state.agents)
        common = mean_policy(each)
        apart = 0.5 * jnp.abs(jnp.exp(each) - jnp.exp(common)[None]).sum(2).max(0)
        value = self._world.start @ state_values(self._world, self._world.rewards.mean(0), common, entropy)
        return {
            "return_mean": value,
            "gap": (self._best - value) / self._best,
            "disagreement": visits(self._world, common) @ apart,
            "tracking_error": jnp.abs(jnp.mean(_tracker(state.agents) - _tracked(state.agents), axis=0)).max(),
        }

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """The common policy's value, and how far agents are apart."""
        first, last = records[0], records[-1]
        share = lambda record: f"{1 - record['gap']:.1%}"
        return [
            ("value", f"{last['return_mean']:.6g} of {self._best:.6g}: {share(first)} -> {share(last)}"),
            ("agents", f"{last['disagreement']:.2g} apart in what they would do on the way"),
            ("graph", f"{mixing_rate(self._weights):.4f} of a disagreement is left after an exchange"),
        ]

    def _log_policies(self, agents: Softmax | Linear) -> Float[Array, "agents states actions"]:
        if isinstance(agents, Linear):
            return jax.vmap(lambda own: log_linear(own, self._features))(agents.parameters)
        return agents.log_policy


def row_and_column(side: int) -> Float[Array, "states actions features"]:
    """Features of an action in a cell: which action in which row, and which in which column."""
    row, column = np.divmod(np.arange(side * side), side)
    where = np.concatenate([np.eye(side)[row], np.eye(side)[column]], axis=1) / np.sqrt(2)
    return jnp.asarray(np.einsum("sf,ab->sabf", where, np.eye(2)).reshape(side * side, 2, 4 * side))


def _tracker(agents: Softmax | Linear) -> Array:
    return agents.tracker


def _tracked(agents: Softmax | Linear) -> Array:
    return agents.critic if isinstance(agents, Linear) else agents.values
