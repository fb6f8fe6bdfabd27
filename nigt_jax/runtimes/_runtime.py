"""What a run needs of whatever computes its rounds."""

from collections.abc import Sequence
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


class WorkerNews(NamedTuple):
    """What a runtime of real workers knows of one of them.

    Attributes:
      place: where it is, host and process; empty while it is not there.
      counted: gradients of it that counted, since this process began.
      discarded: gradients of it that came too late, or not at all, likewise.
      heard: seconds since it was heard last; None where it never was.
      news: what has happened to it last, in a clause; empty where nothing has.
    """

    place: str
    counted: int
    discarded: int
    heard: float | None
    news: str


class Stop(NamedTuple):
    """Totals since the start at which runs stop, as lists with a number for each run.

    Attributes:
      gradients: gradients counted.
      env_steps: steps of their episodes.
      simulated_time: in the clock's unit; may be infinite.
      spent_gradients: gradients counted before the call.
      spent_env_steps: steps likewise.
    """

    gradients: Sequence[int]
    env_steps: Sequence[int]
    simulated_time: Sequence[float]
    spent_gradients: Sequence[int]
    spent_env_steps: Sequence[int]


class WorkTime(NamedTuple):
    """How long a real worker has taken for a gradient.

    Attributes:
      worker: who, from 1.
      duration: seconds of work.
      complete: whether the gradient came to an end, or was broken off after that time.
      exchange: seconds from when the driver had what the gradient follows from until the worker began it; None where
        it followed another one at once.
    """

    worker: int
    duration: float
    complete: bool
    exchange: float | None


@runtime_checkable
class Staff(Protocol):
    """Real workers, as the loop around a run sees them."""

    def news(self) -> tuple[WorkerNews, ...]:
        """What there is to tell of each."""

    def durations(self) -> list[WorkTime]:
        """Of every gradient that workers have told of since this was asked last."""

    def want(self, number: int) -> None:
        """Has so many of them work from now on, the first ones; others come or go.

        Raises:
          UserError: it cannot be so many.
        """


@runtime_checkable
class Metrics(Protocol):
    """What rounds report, leaves [rounds, runs]; of this, the loop looks only at two."""

    @property
    def made(self) -> Any:
        """Whether a run had a round at all."""

    @property
    def env_steps(self) -> Any:
        """Useful steps."""


@runtime_checkable
class Rounds(Protocol):
    """What the loop asks of whatever computes rounds: a :class:`Runtime`, or a related system.

    A state is a pytree of arrays; a checkpoint keeps all of it.
    """

    def compile(self) -> None:
        """Does all that has to be done once before the first round."""

    def run(self, state: Any, rounds: Sequence[int], stop: Stop) -> tuple[Any, Metrics]:
        """Runs so many rounds of each run, at most ``training.chunk``, or fewer. The state given is used up.

        Args:
          state: the runs' state.
          rounds: of each run; a run of 0 rests.
          stop: what ends a run's rounds sooner: the first round at which any of its totals is reached. One round is
            made all the same.

        Returns:
          The state after, and the metrics of each round (leading axes: rounds of the run that made most, runs) on the
          host.
        """

    def evaluate(self, state: Any, asked: Sequence[bool]) -> list[dict[str, Any]]:
        """What an evaluation finds of each run; what is returned of those that are not asked for means nothing."""

    def acquainted(self, state: Any) -> Any:
        """The state before the first round, with the lowest reward that an evaluation has met."""

    def unplaced(self, state: Any) -> Any:
        """A state that it has, as a checkpoint keeps it."""

    def what_never_ends(self, state: Any, iteration: int, ended: int, run: int = 0) -> str:
        """One clause on the round of a run that never ends, and on the workers it waits for.

        Args:
          state: the state at `iteration`.
          iteration: rounds that the run had done by then.
          ended: rounds that ended after it.
          run: number of the run, from 0.
        """

    @property
    def parameters(self) -> int:
        """Number of parameters, which a download carries."""


@runtime_checkable
class Runtime(Rounds, Protocol):
    """Computes the rounds of a training run. The loop around it knows nothing of how.

    Its states have an axis of runs, as metrics and evaluations do.

    Attributes:
      config: the run's configuration, with what was left to the runtime resolved.
      compile_seconds: seconds that compiling has taken, and whatever has to be measured before.
      staff: its workers, where they are real; None where they are a model.
    """

    config: Config
    compile_seconds: float

    @property
    def staff(self) -> Staff | None:
        """Its workers, where they are real."""

    @property
    def hardware(self) -> Hardware:
        """What it computes on."""

    def initial_state(self) -> Any:
        """The state before the first round."""

    def place(self, state: Any) -> Any:
        """A state, from wherever it comes, where the runtime expects it; :meth:`unplaced` is the way back."""

    def run(self, state: Any, rounds: int | Sequence[int], stop: Stop | None = None) -> tuple[Any, RoundMetrics]:
        """As of :class:`Rounds`; `rounds` may be the same number for every run, and nothing need end them sooner."""

    def evaluate(self, state: Any, asked: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """Evaluates each run's iterate: ``return_mean``, ``return_std``, ``episode_length_mean``, ...

        Args:
          state: the runs' state.
          asked: which runs; what is returned of the others means nothing. By default all.
        """

    def simulated_time(self, state: Any) -> Any:
        """Simulated time of each run, in the clock's unit; float64 [runs]."""

    def begun(self, state: Any) -> Any:
        """Gradients that each worker of each run has begun since the start; int [runs, workers]."""

    def probe(self) -> Any:
        """What the environment does with a fixed key and fixed actions; see :func:`nigt_jax.environments.probe`."""

    def close(self) -> None:
        """Lets go of whatever it holds outside of this process. Nothing is computed after that."""
