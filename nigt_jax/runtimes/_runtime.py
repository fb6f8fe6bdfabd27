"""What a run needs of whatever computes its rounds."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from nigt_jax.config import Config
from nigt_jax.training import RoundMetrics


class Hardware(NamedTuple):
    """What rounds are computed on.

    Attributes:
      devices: number of devices that share the episodes.
      name: what kind of device they are.
      platform: JAX's name of their platform.
      lanes: episodes that each of them runs side by side.
    """

    devices: int
    name: str
    platform: str
    lanes: int


@runtime_checkable
class Runtime(Protocol):
    """Computes the rounds of a run. The loop around it knows nothing of how.

    A state is a pytree of arrays; a checkpoint keeps all of it. It has an axis of runs, as metrics and evaluations do.

    Attributes:
      config: the run's configuration, with what was left to the runtime resolved.
      compile_seconds: seconds that compiling has taken, and whatever has to be measured before.
    """

    config: Config
    compile_seconds: float

    @property
    def hardware(self) -> Hardware:
        """What it computes on."""

    def initial_state(self) -> Any:
        """The state before the first round."""

    def place(self, state: Any) -> Any:
        """A state, from wherever it comes, where the runtime expects it."""

    def compile(self) -> None:
        """Does all that has to be done once before the first round."""

    def run(self, state: Any, rounds: int) -> tuple[Any, RoundMetrics]:
        """Runs so many rounds, at most ``training.chunk``. The state given is used up.

        Returns:
          The state after, and the metrics of each round (leading axes `rounds`, `runs`) on the host.
        """

    def evaluate(self, state: Any) -> list[dict[str, Any]]:
        """Evaluates each run's iterate: ``return_mean``, ``return_std``, ``episode_length_mean``, ..."""

    def acquainted(self, state: Any) -> Any:
        """The state before the first round, with the lowest reward that an evaluation has met."""

    def simulated_time(self, state: Any) -> float:
        """Simulated time of the first run, in the clock's unit."""

    def what_never_ends(self, state: Any, iteration: int, ended: int) -> str:
        """One clause on the round of the first run that never ends, and on the workers it waits for.

        Args:
          state: the state at `iteration`.
          iteration: rounds done by then.
          ended: rounds that ended after it.
        """

    def probe(self) -> Any:
        """What the environment does with a fixed key and fixed actions; see :func:`nigt_jax.environments.probe`."""

    @property
    def message_bytes(self) -> int:
        """Bytes of one message between a worker and the server."""
