"""What a related system offers to the loop that runs it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.clocks import SimulatedTime
from nigt_jax.config.systems import SystemConfig
from nigt_jax.records import Record

Scalars: TypeAlias = dict[str, Float[Array, ""]]


class Counted(NamedTuple):
    """What an iteration has used.

    Attributes:
      gradients: gradients, or their like, that went into it.
      env_steps: steps of an environment, or samples, that were played for it; 0 where everything is exact.
      messages: messages between agents.
      numbers: numbers that these carry, all together.
      time: simulated time at its end, since the start of the run.
    """

    gradients: Int[Array, ""]
    env_steps: Int[Array, ""]
    messages: Int[Array, ""]
    numbers: Int[Array, ""]
    time: SimulatedTime


@runtime_checkable
class System(Protocol):
    """A system that the loop runs: pure functions of a state, which is a tree of arrays that a checkpoint keeps.

    Attributes:
      config: its configuration.
      x64: whether it computes in 64 bits.
      headline: the key of its evaluations that a person looks at first.
    """

    config: SystemConfig
    x64: bool
    headline: str

    def begin(self, key: PRNGKeyArray) -> Any:
        """The state before the first iteration."""

    def step(self, state: Any) -> tuple[Any, Counted, Scalars]:
        """One iteration: the state after, what it has used, and numbers for its record. Compiled, many in a row."""

    def evaluate(self, state: Any) -> Scalars:
        """Measures the results. Compiled; what is random in it is the same every time."""

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """What to tell a person when a run has ended: a word and a line each.

        Args:
          records: all of the run's up to its last evaluation; so the first and the last have one.
        """
