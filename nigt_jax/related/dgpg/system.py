"""The system as the loop runs it: an iteration is an update, in which every agent plays all of its episodes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from nigt_jax.clocks import ClockState
from nigt_jax.config.systems import DgpgConfig
from nigt_jax.records import Record
from nigt_jax.related._lockstep import Lockstep
from nigt_jax.related._system import Counted, Scalars
from nigt_jax.related.dgpg.cloud import Cloud
from nigt_jax.related.dgpg.episodes import returns
from nigt_jax.related.dgpg.rivals import rivals
from nigt_jax.related.dgpg.update import Learner, Update
from nigt_jax.related.dgpg.variance import measure, unit_game

_SAMPLES = 4096  # joint actions that variances are measured with
_EVALUATION, _VARIANCES = 1, 2  # what keys beside the run's own are for


class DgpgState(NamedTuple):
    """Everything that a run goes on from.

    Attributes:
      key: of the next update.
      iteration: updates made.
      clock: the agents' time.
      learner: what learns.
    """

    key: PRNGKeyArray
    iteration: Int[Array, ""]
    clock: ClockState
    learner: Learner


class Dgpg:
    """Descent-guided policy gradient, MAPPO or IPPO, as the configuration says.

    Args:
      config: a run's configuration.
    """

    x64 = False
    headline = "return_mean"

    def __init__(self, config: DgpgConfig):
        self.config = config
        self.cloud = Cloud(config.environment, config.workers.count)
        self.update = Update(config.method, self.cloud)
        self._rivals = rivals(self.cloud)
        fresh = jax.eval_shape(self.update.begin, jax.random.key(0)).actor
        self._parameters = sum(leaf.size for leaf in jax.tree.leaves(fresh))
        self._lockstep = Lockstep(config.workers, self._parameters)
        own = config.method
        self._weight = optax.linear_schedule(own.guidance_start, own.guidance_end, own.guidance_updates - 1)

    def begin(self, key: PRNGKeyArray) -> DgpgState:
        """A fresh learner, at time 0."""
        own, of_clock, of_learner = jax.random.split(key, 3)
        start = jnp.zeros([], jnp.int32)
        return DgpgState(own, start, self._lockstep.begin(of_clock), self.update.begin(of_learner))

    def step(self, state: DgpgState) -> tuple[DgpgState, Counted, Scalars]:
        """One update, counted as one gradient; steps are those of the cluster, in each of which all agents act.

        Messages are the shared actor's parameters, once to every agent.
        """
        key, of_episodes, of_order = jax.random.split(state.key, 3)
        batch = self.update.collect(state.learner.actor, of_episodes)
        with jax.numpy_dtype_promotion("standard"):  # the schedule's own code mixes integers and floats
            weight = jnp.asarray(self._weight(state.iteration), jnp.float32)
        learner, quality = self.update(state.learner, batch, weight, of_order)
        clock, count = self._lockstep.step(state.clock), self.cloud.agents
        whole = lambda number: jnp.asarray(number, jnp.int32)
        counted = Counted(whole(1), whole(batch.reward.size), whole(count), whole(count * self._parameters), clock.now)
        scalars = {
            "played_return_mean": jnp.mean(jnp.sum(batch.reward, axis=0)),
            "divergence": quality.divergence,
            "clipped": quality.clipped,
            "entropy": quality.entropy,
        }
        if self.config.method.algorithm == "dgpg":
            scalars["guidance_weight"] = weight
        return DgpgState(key, state.iteration + 1, clock, learner), counted, scalars

    def evaluate(self, state: DgpgState) -> Scalars:
        """Mean returns with the same tasks every time: of the agents, who draw their actions, and of their rivals."""
        keys = jax.random.split(self._key(_EVALUATION), self.config.evaluation.episodes)
        own = returns(self.cloud, self.update.acting(state.learner.actor), keys)
        others = {f"{name}_return": jnp.mean(returns(self.cloud, act, keys)) for name, act in self._rivals.items()}
        deviation = jnp.std(own) / jnp.sqrt(jnp.asarray(own.size, jnp.float32))
        return {"return_mean": jnp.mean(own), "return_standard_error": deviation} | others

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """The last return beside the first and the rivals', and both estimators' variance for so many agents."""
        first, last, count = records[0], records[-1], self.cloud.agents
        variances = jax.jit(measure, static_argnums=2)(unit_game(count), self._key(_VARIANCES), _SAMPLES)
        shared, guidance = map(float, variances)
        name = self.config.method.algorithm
        return [
            ("return", f"{name} {last['return_mean']:.4g}, before training {first['return_mean']:.4g}"),
            ("rivals", f"greedy {last['greedy_return']:.4g}, random {last['random_return']:.4g}"),
            (
                "variance",
                f"of one agent's gradient in the one-step game of {count}: shared cost {shared:.4g}, "
                f"guidance {guidance:.4g}",
            ),
        ]

    def _key(self, purpose: int) -> PRNGKeyArray:
        return jax.random.fold_in(jax.random.key(self.config.seed), purpose)
