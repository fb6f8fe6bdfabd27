"""Agents in environments of Brax that may differ, played by the library's own rollout: all episodes in one queue."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.config import BraxEnvironment, WorkersConfig
from nigt_jax.config.systems import BraxTask
from nigt_jax.environments import (
    action_space,
    check_variation,
    first_state,
    make_environment,
    make_variation,
    observed,
    of_workers,
)
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.policies import GaussianMLP, Policy
from nigt_jax.related._system import Scalars
from nigt_jax.rollout import Steps, Tasks, Trajectories, play_only, rollout

_EVALUATION = 0xE7A1  # key of the episodes of every evaluation


class Brax:
    """A :class:`~nigt_jax.related.svrpg_tracking.Task`: each agent's own world, in 32 bits.

    Observations are not standardised: weights compare densities of the same observation, which running statistics
    would change between two rounds.

    Args:
      config: its section.
      workers: the agents, and how their environments differ.
      lanes: episodes that are played side by side.
      environment: the environment instead of the one that is named.
      policy: the policy instead of a tanh MLP.

    Raises:
      UserError: the environment cannot be played, or does not differ as it should.
    """

    def __init__(
        self,
        config: BraxTask,
        workers: WorkersConfig,
        lanes: int,
        environment: Any = None,
        policy: Policy | None = None,
    ):
        self._config, self._lanes, self.agents = config, lanes, workers.count
        self.discount, self.baseline = config.discount, config.baseline == "leave_one_out"
        section = BraxEnvironment(name=config.environment, backend=config.backend)
        self._environment = make_environment(section) if environment is None else environment
        self._variation = make_variation(workers)
        (size,) = observed(first_state(self._environment)).shape
        if self._variation is not None:
            check_variation(self._environment, self._variation)
            size += self._variation.flip is not None
        network = GaussianMLP(action_space(self._environment).size, config.hidden_sizes, config.min_std)
        self._policy = Policy(network, size, normalize=False) if policy is None else policy
        shapes = jax.eval_shape(self._policy.init, jax.random.key(0))
        self.parameters = sum(x.size for x in jax.tree.leaves(shapes))

    def begin(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters, the same for all agents."""
        return _repeated(self._policy.init(key), self.agents)

    def play(self, params: Any, key: PRNGKeyArray, there: Bool[Array, " places"]) -> Trajectories:
        """Episodes in places that are not `there` are not played, and cost nothing."""
        agent = jnp.repeat(jnp.arange(self.agents), there.size)
        tasks = self._tasks(params, jax.random.split(key, agent.size), jnp.tile(there, self.agents), agent)
        lanes = (min(self._lanes, agent.size),)
        return rollout(self._environment, self._policy, tasks, self._config.horizon, lanes, lanes_last=_lanes_last())

    def steps(self, episodes: Trajectories) -> Int[Array, ""]:
        """Those that were played."""
        return episodes.lengths.sum(dtype=jnp.int32)

    def told(self, episodes: Trajectories) -> Scalars:
        """How many of them broke the physics."""
        diverged, played = episodes.outcomes.diverged.sum(), (episodes.lengths > 0).sum()
        fraction = diverged.astype(jnp.float32) / jnp.maximum(played, 1).astype(jnp.float32)
        return {"diverged": diverged.astype(jnp.float32), "diverged_fraction": fraction}

    def rewards(self, episodes: Trajectories) -> Float[Array, "time agents places"]:
        """With what steps are charged that were missed because the physics broke."""
        return self._by_agent(episodes.rewards(jnp.full(self.agents, self.discount, jnp.float32)))

    def log_ratio(self, params: Any, others: Any, episodes: Trajectories) -> Float[Array, "time agents places"]:
        """Of the samples that actions came of."""
        each, statistics = episodes.lengths.size // self.agents, self._policy.init_normalizer()

        def add(group: Array, total: Array, steps: Steps) -> Array:
            here, there = jax.tree.map(lambda x: x[group], (params, others))
            density = lambda p: self._policy.log_density(p, statistics, steps.observation, steps.sample)
            ratio = jnp.where(steps.valid, density(there) - density(here), 0)
            return total.at[steps.time, steps.episode - group * each].add(ratio)

        found = episodes.fold(add, jnp.zeros((self.agents, episodes.horizon, each)))
        return jnp.moveaxis(found, 0, 1)

    def score_sum(self, params: Any, episodes: Trajectories, factors: Float[Array, "time agents places"]) -> Any:
        """As all estimators of the library have it."""
        statistics = _repeated(self._policy.init_normalizer(), self.agents)
        return policy_gradient_sum(self._policy, params, statistics, episodes, factors.reshape(len(factors), -1))

    def deterministic(self, params: Any) -> Any:
        """None: there is no penalty."""
        return jax.tree.map(jnp.zeros_like, params)

    def measures(self, mean: Any) -> Scalars:
        """None that cost no episodes."""
        del mean
        return {}

    def evaluate(self, mean: Any) -> Scalars:
        """Undiscounted returns in every agent's world, of the same episodes every time."""
        number = self._config.evaluation_episodes
        agent = jnp.repeat(jnp.arange(1 if self._variation is None else self.agents), number)
        keys = jnp.tile(jax.random.split(jax.random.key(_EVALUATION), number), agent.size // number)
        params = jax.tree.map(lambda x: x[None], mean)
        tasks = self._tasks(params, keys, jnp.ones(agent.size, bool), agent)
        lanes = (min(max(self._lanes, number), agent.size),)
        outcomes, _ = play_only(
            self._environment, self._policy, tasks, self._config.horizon, lanes, lanes_last=_lanes_last()
        )
        returns = outcomes.returns.reshape(-1, number)
        return {
            "return_mean": returns.mean(),
            "return_lowest": returns.mean(1).min(),
            "evaluation_diverged": outcomes.diverged.sum().astype(jnp.float32),
        }

    def _tasks(self, params: Any, keys: Array, active: Bool[Array, " episodes"], agent: Array) -> Tasks:
        groups = jax.tree.leaves(params)[0].shape[0]
        statistics = _repeated(self._policy.init_normalizer(), groups)
        charge = jnp.full(groups, -self._config.divergence_penalty, jnp.float32)
        return Tasks(keys, active, params, statistics, of_workers(self._variation, agent), charge)

    def _by_agent(self, of_episodes: Float[Array, "time episodes"]) -> Float[Array, "time agents places"]:
        return of_episodes.reshape(len(of_episodes), self.agents, -1)


def _repeated(tree: Any, times: int) -> Any:
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (times, *x.shape)), tree)


def _lanes_last() -> bool:
    """Where the loops of a CPU run fastest; nothing else was measured on other devices."""
    settings: Any = jax.config
    chosen = settings.jax_default_device  # a system may be computed elsewhere than where JAX would
    return (jax.default_backend() if chosen is None else chosen.platform) == "cpu"
