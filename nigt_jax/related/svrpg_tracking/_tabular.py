r"""A random Markov decision process with rewards of each agent's own, in which everything can be computed.

Agent i maximises :math:`E \sum_{t<H} \gamma^t r_i(s_t, a_t) - \frac{\lambda}{2} \|\theta\|^2` with a tabular softmax
:math:`\pi_\theta(a | s) \propto \exp \theta_{s,a}`. All agents have the same transitions.
"""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.config.systems import TabularTask
from nigt_jax.related._system import Scalars

Values: TypeAlias = np.ndarray | Array


class Mdp(NamedTuple):
    """A Markov decision process; arrays of NumPy, or traced ones, so that several processes share a program.

    Attributes:
      start: probability of each first state.
      transition: probability of each next state.
      rewards: of each agent, for an action in a state.
    """

    start: Float[Values, " states"]
    transition: Float[Values, "states actions states"]
    rewards: Float[Values, "agents states actions"]


def random_mdp(task: TabularTask, agents: int, seed: int) -> Mdp:
    """Rows of transitions are uniform on the simplex; a reward is N(0, 0.7^2), and U(0, 2) more for half of them."""
    rng, table = np.random.default_rng(seed), (agents, task.states, task.actions)
    transition = rng.dirichlet(np.ones(task.states), table[1:])
    more = rng.uniform(0, 2, table) * (rng.random(table) < 0.5)
    return Mdp(np.full(task.states, 1 / task.states), transition, more + rng.normal(0, 0.7, table))


class Episodes(NamedTuple):
    """What happened; all are [time, agents, places].

    Attributes:
      state: where each step began.
      action: what was done there.
      reward: what its agent got for it.
      there: which places have an episode; shape [places].
    """

    state: Int[Array, "time agents places"]
    action: Int[Array, "time agents places"]
    reward: Float[Array, "time agents places"]
    there: Bool[Array, " places"]


class Tabular:
    """A :class:`~nigt_jax.related.svrpg_tracking.Task`: agents in a Markov decision process, in 64 bits.

    Args:
      config: its section.
      mdp: the process.
    """

    baseline = False

    def __init__(self, config: TabularTask, mdp: Mdp):
        self.agents: int = mdp.rewards.shape[0]
        self.parameters = config.states * config.actions
        self.discount, self._penalty, self._horizon = config.discount, config.penalty, config.horizon
        self._mdp = mdp

    def begin(self, key: PRNGKeyArray) -> Float[Array, "agents states actions"]:
        """Every action as likely as any other."""
        del key
        return jnp.zeros(self._mdp.rewards.shape)

    def play(
        self, params: Float[Array, "agents states actions"], key: PRNGKeyArray, there: Bool[Array, " places"]
    ) -> Episodes:
        """All places at once, whether they are there or not: steps cost less here than to leave some out."""
        # All random numbers of a round in one call: programs with several take long to compile.
        draws = jax.random.uniform(key, (self._horizon, 2, self.agents, there.size), params.dtype)
        agent = jnp.arange(self.agents)[:, None]
        policy, paid = jnp.cumsum(jax.nn.softmax(params), 2), jnp.asarray(self._mdp.rewards)
        following, start = jnp.cumsum(self._mdp.transition, 2), jnp.cumsum(self._mdp.start)

        def step(arrival: Array, draw: Array) -> tuple[Array, tuple[Array, Array, Array]]:
            state = _drawn(arrival, draw[0])
            action = _drawn(policy[agent, state], draw[1])
            return following[state, action], (state, action, paid[agent, state, action])

        begun = jnp.broadcast_to(start, (self.agents, there.size, start.size))
        return Episodes(*jax.lax.scan(step, begun, draws)[1], there)

    def steps(self, episodes: Episodes) -> Int[Array, ""]:
        """All episodes are of the same length."""
        return episodes.there.sum(dtype=jnp.int32) * self.agents * self._horizon

    def told(self, episodes: Episodes) -> Scalars:
        """Nothing: no episode of a table goes wrong."""
        del episodes
        return {}

    def rewards(self, episodes: Episodes) -> Float[Array, "time agents places"]:
        """As they were."""
        return episodes.reward

    def log_ratio(
        self,
        params: Float[Array, "agents states actions"],
        others: Float[Array, "agents states actions"],
        episodes: Episodes,
    ) -> Float[Array, "time agents places"]:
        """Of each action that was taken."""
        difference = jax.nn.log_softmax(others) - jax.nn.log_softmax(params)
        return difference[jnp.arange(self.agents)[None, :, None], episodes.state, episodes.action]

    def score_sum(
        self,
        params: Float[Array, "agents states actions"],
        episodes: Episodes,
        factors: Float[Array, "time agents places"],
    ) -> Float[Array, "agents states actions"]:
        """A score is 1 for the action that was taken, less the probabilities of all in that state."""
        agent = jnp.arange(self.agents)[None, :, None]
        taken = jnp.zeros_like(params).at[agent, episodes.state, episodes.action].add(factors)
        return taken - jax.nn.softmax(params) * taken.sum(2, keepdims=True)

    def deterministic(self, params: Float[Array, "agents states actions"]) -> Float[Array, "agents states actions"]:
        """The penalty's."""
        return -self._penalty * params

    def returns(self, params: Float[Array, "states actions"]) -> Float[Array, " agents"]:
        """Each agent's expected discounted return with these parameters, without the penalty."""
        policy = jax.nn.softmax(params)
        moves = jnp.einsum("sa,sat->st", policy, self._mdp.transition)
        paid = jnp.einsum("sa,nsa->ns", policy, self._mdp.rewards)

        def step(here: Array, _: None) -> tuple[Array, Array]:
            return self.discount * (here @ moves), paid @ here

        return jax.lax.scan(step, jnp.asarray(self._mdp.start), None, length=self._horizon)[1].sum(0)

    def objective(self, params: Float[Array, "states actions"]) -> Float[Array, ""]:
        """Mean of all agents' objectives: the mean return less the penalty."""
        return self.returns(params).mean() - self._penalty / 2 * jnp.sum(jnp.square(params))

    def measures(self, mean: Float[Array, "states actions"]) -> Scalars:
        """The length of the gradient of the objective, exactly."""
        return {"gradient_norm": jnp.linalg.norm(jax.grad(self.objective)(mean))}

    def evaluate(self, mean: Float[Array, "states actions"]) -> Scalars:
        """The expected return, over agents the mean and the lowest, and the objective."""
        returns = self.returns(mean)
        return {"return_mean": returns.mean(), "return_lowest": returns.min(), "objective": self.objective(mean)}


def _drawn(cumulative: Float[Array, "agents places choices"], draw: Array) -> Int[Array, "agents places"]:
    """Which of the choices, by their cumulative probabilities; the last one if it is none of the others."""
    return jnp.sum(draw[:, :, None] >= cumulative[:, :, :-1], axis=2, dtype=jnp.int32)
