"""The time that agents take who all wait for the last one."""

import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from nigt_jax.clocks import Clock, ClockState, make_clock, play_round, synchronous_rule
from nigt_jax.config import WorkersConfig


class Lockstep:
    """Rounds in which every agent does its part, once or more, and then all exchange.

    Args:
      workers: their section of the configuration.
      numbers: how many numbers an agent has to learn, on which times may depend.
    """

    def __init__(self, workers: WorkersConfig, numbers: int):
        self._clock: Clock = make_clock(workers, numbers, workers.count)
        self._agents = workers.count

    def begin(self, key: PRNGKeyArray) -> ClockState:
        """The clock at time 0."""
        return self._clock.begin(key)

    def step(self, state: ClockState, parts: int | Int[Array, ""] = 1) -> ClockState:
        """The clock after a round and its exchange; its ``now`` is the time.

        Args:
          state: the clock before it.
          parts: how often each agent does its part in this round: gradients, of which a time is that of one.
        """
        rule = synchronous_rule(jnp.asarray(parts, jnp.int32) * self._agents, self._agents)
        return play_round(self._clock, rule, state)[1]
