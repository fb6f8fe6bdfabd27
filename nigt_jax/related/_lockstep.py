"""The time that agents take who all wait for the last one."""

from jaxtyping import PRNGKeyArray

from nigt_jax.clocks import Clock, ClockState, make_clock, play_round, synchronous_rule
from nigt_jax.config import WorkersConfig


class Lockstep:
    """Rounds in which every agent does its part, once, and then all exchange.

    Args:
      workers: their section of the configuration.
      numbers: how many numbers an agent has to learn, on which times may depend.
    """

    def __init__(self, workers: WorkersConfig, numbers: int):
        self._clock: Clock = make_clock(workers, numbers, workers.count)
        self._rule = synchronous_rule(workers.count, workers.count)

    def begin(self, key: PRNGKeyArray) -> ClockState:
        """The clock at time 0."""
        return self._clock.begin(key)

    def step(self, state: ClockState) -> ClockState:
        """The clock after a round and its exchange; its ``now`` is the time."""
        return play_round(self._clock, self._rule, state)[1]
