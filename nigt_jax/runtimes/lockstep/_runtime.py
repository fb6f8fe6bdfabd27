"""One run on the devices of several processes, as the process that leads sees it."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

import nigt_jax
from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunError, UserError
from nigt_jax.policies import Start
from nigt_jax.records import installed_versions
from nigt_jax.runtimes._runtime import Hardware, Stop
from nigt_jax.runtimes._simulated import SimulatedRuntime
from nigt_jax.runtimes.lockstep import _link
from nigt_jax.runtimes.lockstep._join import join, note_broken, note_listening, who_has_ended
from nigt_jax.training import RoundMetrics, TrainState

FAILED, OTHER_CODE = 1, 2  # what a process says instead of 0 where it cannot take part


class LockstepRuntime:
    """The simulated clock on the devices of all processes of a job. Only the process that leads has one.

    Before each program it tells the other processes to start theirs, which is the same; see
    :func:`nigt_jax.runtimes.lockstep.follow`. It satisfies :class:`nigt_jax.runtimes.Runtime`.

    Args:
      config: the run's configuration. The devices of all processes share the episodes of every round.
      environment: only None: the other processes make the one that the configuration names.
      start: the parameters and statistics that training starts with; None for fresh ones.

    Attributes:
      config: the same, with the numbers of devices, lanes and episodes in a block that there are.
      compile_seconds: seconds that compiling has taken in this process.

    Raises:
      UserError: there are no other processes, one cannot take part, or devices would be left over.
    """

    staff: None = None

    def __init__(self, config: Config, environment: Any = None, *, start: Start | None = None):
        if environment is not None:
            raise UserError(
                "environment: got an object, allowed with runtime.kind lockstep: what environment.name can name"
            )
        join(config)
        if not _link.leads():
            raise UserError(
                f"this is process {jax.process_index()} of a job in lockstep, and process 0 trains; allowed here: "
                "nigt_jax.runtimes.lockstep.follow()"
            )
        self._own = SimulatedRuntime(config, start=start)
        there = jax.device_count(self._own.hardware.platform)
        if len(self._own.devices) != there:
            raise UserError(
                f"training.devices: got {len(self._own.devices)}, but all {there} devices of the job's processes have "
                "to share the episodes of a round; allowed: numbers of episodes that they divide, or other processes"
            )
        self.config, self.compile_seconds = self._own.config, self._own.compile_seconds
        self._theirs: TrainState | None = None  # the state that the other processes have
        note_listening(True)
        with self._together():
            _link.tell({"do": "make", "config": to_dict(self.config), "code": code_digest()})
            answers = _link.gather(0)
        self._refuse(answers)

    def _refuse(self, answers: list[int]) -> None:
        """UserError where a process cannot take part."""
        for number, answer in enumerate(answers):
            if answer == OTHER_CODE:
                raise UserError(f"process {number} has other versions than process 0; allowed: the same everywhere")
            if answer == FAILED:
                said = who_has_ended() or f"process {number} cannot make this run, and says why on its standard error"
                note_broken(status=2)
                raise UserError(said)

    @property
    def hardware(self) -> Hardware:
        """What it computes on: the devices of all processes."""
        return self._own.hardware

    @property
    def parameters(self) -> int:
        """Number of the policy's parameters."""
        return self._own.parameters

    def probe(self) -> Any:
        """What the environment does with a fixed key and fixed actions."""
        return self._own.probe()

    def initial_state(self) -> TrainState:
        """The state before the first round."""
        return self._own.initial_state()

    def place(self, state: TrainState) -> TrainState:
        """A state, from wherever it comes, on all devices."""
        with self._together():
            _link.tell({"do": "place"})
            shared = _link.share(state, self._own.initial_state())
        self._theirs = self._own.place(shared)
        return self._theirs

    def unplaced(self, state: TrainState) -> TrainState:
        """The state on the host."""
        return jax.device_get(state)

    def compile(self) -> None:
        """Compiles, as do all other processes at the same time; waits for all of them."""
        with self._together():
            _link.tell({"do": "compile"})
            self._own.compile()
            _link.gather(0)
        self.compile_seconds = self._own.compile_seconds

    def run(
        self, state: TrainState, rounds: int | Sequence[int], stop: Stop | None = None
    ) -> tuple[TrainState, RoundMetrics]:
        """Runs so many rounds; see :class:`nigt_jax.runtimes.Runtime`."""
        state = self._shared(state)
        told = None if stop is None else stop._asdict()
        with self._together():
            _link.tell({"do": "run", "rounds": rounds, "stop": told})
            self._theirs, metrics = self._own.run(state, rounds, stop)
        return self._theirs, metrics

    def evaluate(self, state: TrainState, asked: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """Evaluates the iterate."""
        state = self._shared(state)
        with self._together():
            _link.tell({"do": "evaluate", "asked": asked if asked is None else list(asked)})
            return self._own.evaluate(state, asked)

    def acquainted(self, state: TrainState) -> TrainState:
        """The state before the first round, with the lowest reward that an evaluation has met."""
        state = self._shared(state)
        with self._together():
            _link.tell({"do": "acquainted"})
            self._theirs = self._own.acquainted(state)
        return self._theirs

    def simulated_time(self, state: TrainState) -> Any:
        """Simulated time of each run, in the clock's unit; float64 [runs]."""
        return self._own.simulated_time(state)

    def begun(self, state: TrainState) -> Any:
        """Gradients that each worker of each run has begun since the start; int [runs, workers]."""
        return self._own.begun(state)

    def what_never_ends(self, state: TrainState, iteration: int, ended: int, run: int = 0) -> str:
        """One clause on the round of a run that never ends, and on the workers it waits for."""
        return self._own.what_never_ends(state, iteration, ended, run)

    def close(self) -> None:
        """Lets the other processes wait for another run."""
        with contextlib.suppress(RunError), self._together():
            _link.tell({"do": "close"})
            note_listening(False)

    def _shared(self, state: TrainState) -> TrainState:
        """The state, which the other processes have, too."""
        return state if state is self._theirs else self.place(state)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Raises RunError where another process is gone."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise
            why = who_has_ended() or f"another process is gone: {str(error).splitlines()[0]}"
            note_broken()
            raise RunError(f"the job in lockstep cannot go on: {why}") from error


def code_digest() -> str:
    """What has to be the same in all processes: versions, and the code of this package."""
    package, digest = Path(nigt_jax.__file__).parent, hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.read_bytes())
    return " ".join([*(f"{name} {version}" for name, version in installed_versions().items()), digest.hexdigest()[:16]])
