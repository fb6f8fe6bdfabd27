"""What the algorithm has to know of a task: episodes, densities, scores."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.related._system import Scalars


@runtime_checkable
class Task(Protocol):
    """What agents do. Everybody has a place for as many episodes, of which a round fills some.

    Parameters of all agents together are a tree whose leaves have a leading axis of agents. What is said of single
    steps has the shape [time, agents, places].

    Attributes:
      agents: how many there are.
      parameters: numbers that one agent learns.
      discount: discount factor of the objective, per step.
      baseline: whether the mean of an agent's other episodes is subtracted from what follows a step.
    """

    agents: int
    parameters: int
    discount: float
    baseline: bool

    def begin(self, key: PRNGKeyArray) -> Any:
        """The first parameters, the same for all agents."""

    def play(self, params: Any, key: PRNGKeyArray, there: Bool[Array, " places"]) -> Any:
        """Episodes of every agent, in its own world and by its own policy.

        Args:
          params: of all agents.
          key: of all that is random in them.
          there: which places have an episode that counts.
        """

    def steps(self, episodes: Any) -> Int[Array, ""]:
        """Steps in all places that have an episode."""

    def told(self, episodes: Any) -> Scalars:
        """What a record says of the episodes."""

    def rewards(self, episodes: Any) -> Float[Array, "time agents places"]:
        """Rewards, 0 after an episode's end."""

    def log_ratio(self, params: Any, others: Any, episodes: Any) -> Float[Array, "time agents places"]:
        """Log of how likely an action is with the other parameters, as a multiple of what it was; 0 after the end."""

    def score_sum(self, params: Any, episodes: Any, factors: Float[Array, "time agents places"]) -> Any:
        """Each agent's sum over steps of factor times the gradient of the action's log density; like `params`."""

    def deterministic(self, params: Any) -> Any:
        """Each agent's gradient of what in its objective takes no episodes; like `params`."""

    def measures(self, mean: Any) -> Scalars:
        """What is known exactly, and cheaply, of the mean parameters, which have no axis of agents."""

    def evaluate(self, mean: Any) -> Scalars:
        """How good the mean parameters are, ``return_mean`` among it."""
