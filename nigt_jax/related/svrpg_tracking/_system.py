"""The system: rounds of agents that play, compare with what they remember, and exchange with their neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from nigt_jax.clocks import ClockState
from nigt_jax.config.systems import SvrpgTrackingConfig, TabularTask
from nigt_jax.errors import UserError
from nigt_jax.records import Record
from nigt_jax.related._lockstep import Lockstep
from nigt_jax.related._system import Counted, Scalars
from nigt_jax.related._weights import make_graph
from nigt_jax.related.svrpg_tracking import _network as network
from nigt_jax.related.svrpg_tracking._estimate import Estimate, Reference, begin_reference, estimate
from nigt_jax.related.svrpg_tracking._tabular import Tabular, random_mdp
from nigt_jax.related.svrpg_tracking._task import Task

_COUNTABLE = 2**31 - 1  # what an int32 counts


class SvrpgTrackingState(NamedTuple):
    """All that a run needs to go on.

    Attributes:
      key: key of all rounds.
      iteration: rounds done.
      clock: simulated time.
      agents: parameters, trackers and newest estimates.
      reference: where agents have been, and what their gradient was there.
    """

    key: PRNGKeyArray
    iteration: Int[Array, ""]
    clock: ClockState
    agents: network.Agents
    reference: Reference


class SvrpgTracking:
    """Distributed policy gradient with gradient tracking; a :class:`nigt_jax.related._system.System`.

    Args:
      config: its configuration.
      task: what agents do, instead of what the configuration says.

    Raises:
      UserError: the environments cannot be played, or do not differ as they should; more numbers are exchanged in a
        round than can be counted.
    """

    headline = "return_mean"

    def __init__(self, config: SvrpgTrackingConfig, task: Task | None = None):
        self.config, self.x64 = config, isinstance(config.task, TabularTask)
        self.task = _task(config) if task is None else task
        links, self._weights = make_graph(config.graph, config.workers.count)
        self._links = int(links.sum())
        if 2 * self._links * self.task.parameters > _COUNTABLE:
            raise UserError(
                f"workers.count: got {config.workers.count:,} whose {self._links:,} links carry "
                f"{2 * self.task.parameters:,} numbers each; allowed: up to {_COUNTABLE:,} numbers a round"
            )
        self._time = Lockstep(config.workers, self.task.parameters)

    def begin(self, key: PRNGKeyArray) -> SvrpgTrackingState:
        """All agents at the same parameters, with nothing tracked."""
        first, rounds, times = jax.random.split(key, 3)
        params = self.task.begin(first)
        return SvrpgTrackingState(
            key=rounds,
            iteration=jnp.zeros([], jnp.int32),
            clock=self._time.begin(times),
            agents=network.begin_agents(params),
            reference=begin_reference(self.config.estimator, params),
        )

    def step(self, state: SvrpgTrackingState) -> tuple[SvrpgTrackingState, Counted, Scalars]:
        """A round: estimates at the agents' parameters, then one exchange and a step."""
        key = jax.random.fold_in(state.key, state.iteration)
        found = estimate(self.task, self.config.estimator, state.agents.params, state.reference, state.iteration, key)
        agents = network.exchange(self._weights, self.config.network, state.agents, found.value)
        after = SvrpgTrackingState(
            key=state.key,
            iteration=state.iteration + 1,
            clock=self._time.step(state.clock, found.episodes),
            agents=agents,
            reference=found.reference,
        )
        return after, self._counted(after, found), self._scalars(agents, found)

    def evaluate(self, state: SvrpgTrackingState) -> Scalars:
        """How good the mean of all agents' parameters is."""
        return self.task.evaluate(network.mean_of(state.agents.params))

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """Returns, how far agents are apart, the largest weight, and what it has taken."""
        first, last = records[0], records[-1]
        rounds = [record for record in records if "trajectories" in record]
        most = lambda key: max(record[key] for record in rounds)
        lines = [("return", f"{first['return_mean']:.4g} at first, {last['return_mean']:.4g} in the end")]
        if "gradient_norm" in last:
            lines.append(("gradient", f"norm {last['gradient_norm']:.3g} at the mean parameters"))
        return [
            *lines,
            ("disagreement", f"{last['disagreement']:.3g}, mean squared distance from the mean parameters"),
            ("weights", f"{most('largest_weight'):.3g} at most; trackers off by {most('tracker_error'):.1e} at most"),
            (
                "spent",
                f"{sum(r['trajectories'] for r in rounds):,.0f} trajectories of each agent, {len(rounds):,} rounds",
            ),
        ]

    def _counted(self, after: SvrpgTrackingState, found: Estimate) -> Counted:
        each = self.task.parameters * (2 if self.config.network.tracking else 1)
        return Counted(
            gradients=found.episodes * self.task.agents,
            env_steps=found.steps,
            messages=jnp.asarray(self._links, jnp.int32),
            numbers=jnp.asarray(self._links * each, jnp.int32),
            time=after.clock.now,
        )

    def _scalars(self, agents: network.Agents, found: Estimate) -> Scalars:
        real = found.largest_weight.dtype
        return (
            self.task.measures(network.mean_of(agents.params))
            | found.told
            | {
                "disagreement": network.disagreement(agents.params),
                "largest_weight": found.largest_weight,
                "capped_weights": found.capped.astype(real),
                "tracker_error": network.tracker_error(agents),
                "trajectories": found.episodes.astype(real),
            }
        )


def _task(config: SvrpgTrackingConfig) -> Task:
    if isinstance(config.task, TabularTask):
        return Tabular(config.task, random_mdp(config.task, config.workers.count, config.seed))
    # Imported here: Brax takes seconds, which a table does not need.
    from nigt_jax.related.svrpg_tracking._brax import Brax

    return Brax(config.task, config.workers, lanes=config.workers.count * config.estimator.batch)
