"""Workers that are really uneven: processes of Ray, led by this one."""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import SimulatedTime, to_float64
from nigt_jax.compilation import jit
from nigt_jax.config import Config
from nigt_jax.environments import in_32_bits, make_environment, probe
from nigt_jax.errors import UserError
from nigt_jax.methods import Progress, iterate
from nigt_jax.policies import Start
from nigt_jax.runtimes._devices import device_name
from nigt_jax.runtimes._parts import make_parts
from nigt_jax.runtimes._runtime import Hardware, Stop, WorkerNews, WorkTime
from nigt_jax.runtimes.cluster._by_arrival import ByArrival
from nigt_jax.runtimes.cluster._by_contribution import ByContribution
from nigt_jax.runtimes.cluster._crew import Crew
from nigt_jax.runtimes.cluster._members import settings_of
from nigt_jax.runtimes.cluster._rounds import InRounds
from nigt_jax.runtimes.cluster._server import ClusterState, begin_cluster
from nigt_jax.runtimes.cluster._watch import Done
from nigt_jax.runtimes.cluster._worker import example_assignment
from nigt_jax.training import (
    RoundMetrics,
    all_finite,
    begin_unit,
    evaluate,
    finish_unit,
    make_hyperparameters,
    number_of_parameters,
    stream,
    summarise,
)

_Leader = InRounds | ByArrival | ByContribution
_all_finite = jax.jit(all_finite)  # once a round or an arrival, while workers wait
_LEADERS: dict[str, type[_Leader]] = {"summed": InRounds, "arrivals": ByArrival, "workers": ByContribution}


class RayRuntime:
    """A run whose workers are processes of Ray, on this machine or on a cluster; simulated time is real, in seconds.

    This process has the method's state, and absorbs what workers send. It satisfies
    :class:`nigt_jax.runtimes.Runtime`.

    Args:
      config: the run's configuration.
      environment: only None: workers make the environment that the configuration names.

    Attributes:
      config: the same, with the number of devices that there are.
      crew: the workers, once they were started.
      compile_seconds: seconds until the first workers were ready, and this process had compiled.

    Raises:
      UserError: the method, the estimator or the environment is not one for workers apart.
    """

    def __init__(self, config: Config, environment: Any = None, *, start: Start | None = None):
        if environment is not None:
            raise UserError("environment: got an object, allowed with runtime.kind ray: what environment.name can name")
        _refuse_simulated(config)
        made = in_32_bits(make_environment(config.environment))
        self.devices = jax.local_devices()[:1]
        platform = self.devices[0].platform
        self._parts = make_parts(config, made, 1, axis=None, platform=platform, start=start)
        self._hyperparameters = make_hyperparameters(
            config, self._parts.policy, self._parts.estimator, self._parts.method, 1
        )
        if jax.tree.leaves(jax.eval_shape(self._parts.estimator.init, jax.random.key(0), 1)):
            raise UserError(
                f"estimator.name: got {config.estimator.name}, which learns from all workers' episodes; allowed with "
                "runtime.kind ray: policy_gradient, return_to_go, or leave_one_out"
            )
        training = dataclasses.replace(config.training, devices=1, lanes=1, block=self._parts.episodes)
        self.config = dataclasses.replace(config, training=training)
        self.crew: Crew | None = None
        self.compile_seconds = 0.0
        self._leader: _Leader | None = None
        self._wanted = settings_of(config).begin_with or config.workers.count
        self._refuse_number(self._wanted, "runtime.begin_with")

    @property
    def hardware(self) -> Hardware:
        """What workers compute on."""
        first = self.devices[0]
        return Hardware(self.config.workers.count, device_name(first), first.platform, 1)

    @property
    def parameters(self) -> int:
        """Number of the policy's parameters."""
        return number_of_parameters(self._parts.policy)

    def probe(self) -> Any:
        """What the environment does with a fixed key and fixed actions."""
        return probe(self._parts.environment, self.devices[0])

    def initial_state(self) -> ClusterState:
        """The state before the first round."""
        return begin_cluster(self._parts, self._hyperparameters, jnp.asarray(self.config.seed, jnp.uint32))

    def place(self, state: ClusterState) -> ClusterState:
        """The state as it is: this process has all of it."""
        return jax.tree.map(jnp.asarray, state)

    def unplaced(self, state: ClusterState) -> ClusterState:
        """The state as it is."""
        return state

    def compile(self) -> None:
        """Starts the workers, and waits for the first that is ready; the others join when they are."""
        started = time.perf_counter()
        self.crew = Crew(self.config)
        kind = _LEADERS[self._parts.method.kind]
        like = jax.eval_shape(self._unit)
        leader = self._leader = kind(self.config, self._parts, self._hyperparameters, self.crew, like)
        for member in self.crew.members:
            member.away = True
        leader.watch.want(self._wanted)
        leader.watch.wait_until_ready(settings_of(self.config).patience)
        self.compile_seconds += time.perf_counter() - started

    def run(
        self, state: ClusterState, rounds: int | Sequence[int], stop: Stop | None = None
    ) -> tuple[ClusterState, RoundMetrics]:
        """Runs so many rounds; see :class:`nigt_jax.runtimes.Runtime`. Between calls, workers are held."""
        assert self.crew is not None
        assert self._leader is not None
        most = rounds if isinstance(rounds, int) else rounds[0]
        began, spent = float(to_float64(state.elapsed)[0]), _Spent.of(stop)
        self.crew.hold(False)
        started = time.monotonic()
        rows: list[RoundMetrics] = []
        try:
            while len(rows) < most and not (rows and spent.reaches(stop, rows[-1])):
                now = began + time.monotonic() - started
                step = self._hyperparameters.step.at(spent.progress(int(state.iteration[0]), now))
                state, done = self._leader.one(state, step)
                seconds = began + time.monotonic() - started
                state = state._replace(elapsed=_as_time(seconds))
                finite = bool(_all_finite(state.server, state.normalizer, state.workers))
                rows.append(self._row(done, seconds, finite))
                spent = spent.after(done)
        finally:
            self.crew.hold(True)
        return state, jax.tree.map(lambda *x: np.stack(x), *rows)

    def evaluate(self, state: ClusterState, asked: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """Evaluates the iterate, in this process."""
        del asked
        episodes, workers = self.config.evaluation.episodes, self.config.workers
        played = jax.device_get(self._evaluation(state))
        count = workers.count if workers.differ else 1
        return [summarise(played.returns[0], played.lengths[0], played.diverged[0], episodes, count)]

    def acquainted(self, state: ClusterState) -> ClusterState:
        """The state before the first round, with the lowest reward that an evaluation has met."""
        played = jax.device_get(self._evaluation(state))
        whole = ~played.diverged & (played.lengths > 0)
        means = np.where(whole, played.returns / np.maximum(played.lengths, 1).astype(np.float32), 0)
        return state._replace(lowest=jnp.minimum(state.lowest, jnp.asarray(means.min(axis=1), jnp.float32)))

    def simulated_time(self, state: ClusterState) -> Any:
        """Seconds in rounds."""
        return to_float64(state.elapsed)

    def begun(self, state: ClusterState) -> Any:
        """Gradients of each worker that this process has counted or discarded; int [1, workers]."""
        del state
        members = [] if self.crew is None else self.crew.members
        return np.asarray([[member.counted + member.discarded for member in members]], np.int64)

    def what_never_ends(self, state: ClusterState, iteration: int, ended: int, run: int = 0) -> str:
        """Nothing: whoever is missing is told of by :meth:`run`."""
        del state, iteration, ended, run
        return "the round never ends"

    @property
    def staff(self) -> "RayRuntime":
        """The runtime itself tells of its workers."""
        return self

    def news(self) -> tuple[WorkerNews, ...]:
        """What there is to tell of the workers."""
        now = time.monotonic()
        return () if self.crew is None else tuple(member.tell(now) for member in self.crew.members)

    def durations(self) -> list[WorkTime]:
        """What gradients and exchanges have taken since this was asked last."""
        return [] if self.crew is None else self.crew.durations()

    def want(self, number: int) -> None:
        """Has so many workers work from now on, the first ones; see :class:`nigt_jax.runtimes.Staff`."""
        self._refuse_number(number, "workers")
        self._wanted = number
        if self._leader is not None:
            self._leader.watch.want(number)

    def _refuse_number(self, number: int, what: str) -> None:
        """UserError where there cannot be so many workers."""
        count, every = self.config.workers.count, self.config.workers.differ
        if not (count if every else 1) <= number <= count:
            allowed = f"{count}, for each has an environment of its own" if every else f"1 to workers.count, {count}"
            raise UserError(f"{what}: got {number}, allowed: {allowed}")

    def close(self) -> None:
        """Ends the workers."""
        if self.crew is not None:
            self.crew.close()

    @functools.cached_property
    def _evaluation(self) -> Any:
        config, parts = self.config, self._parts
        variation = jax.tree.map(lambda x: x[None], self._hyperparameters.variation)
        key = stream(config.evaluation.seed, "evaluation")

        def play(state: ClusterState) -> Any:
            model = jax.vmap(functools.partial(iterate, parts.method))(state.server)
            charge = self._hyperparameters.charge(state.lowest)
            return evaluate(parts, config.evaluation.episodes, model, state.normalizer, key, variation, charge)

        return jit(play)

    def _unit(self) -> Any:
        """A unit, for its shapes."""
        parts, key = self._parts, jax.random.key(0)
        assignment = example_assignment(parts, self._hyperparameters)
        variation = jax.tree.map(lambda x: x[0], self._hyperparameters.variation)
        run = begin_unit(parts, assignment, variation, key)
        return finish_unit(parts, assignment, self._hyperparameters.estimator, variation, key, run)

    def _row(self, done: Done, seconds: float, finite: bool) -> RoundMetrics:
        """The metrics of a round, leaves [1]."""
        each, unit = self._parts.trajectories_per_gradient, done.total
        whole: Any = lambda number: np.asarray([number], np.int32)
        long: Any = lambda number: np.asarray([number], np.int64)
        yes: Any = np.ones(1, bool)
        real: Any = lambda number: np.asarray([number], np.float32)
        return RoundMetrics(
            made=yes,
            gradients=whole(done.gradients),
            episodes=whole(done.gradients * each),
            discarded=whole(done.discarded),
            communications=whole(1),
            uploads=whole(done.uploads),
            downloads=whole(done.downloads),
            delay=whole(done.delay),
            env_steps=long(int(unit.env_steps)),
            computed_steps=long((done.gradients + done.discarded) * each * self._parts.horizon),
            time=jax.device_get(_as_time(seconds)),
            query_return_mean=real(unit.returns / (done.gradients * each)),
            gradient_norm=real(done.norm),
            diverged=whole(int(unit.diverged)),
            complete=yes,
            too_large=~yes,
            finite=yes & finite,
        )


@dataclasses.dataclass(frozen=True)
class _Spent:
    """What the run has used."""

    gradients: int
    env_steps: int

    @classmethod
    def of(cls, stop: Stop | None) -> "_Spent":
        return cls(0, 0) if stop is None else cls(stop.spent_gradients[0], stop.spent_env_steps[0])

    def after(self, done: Done) -> "_Spent":
        return _Spent(self.gradients + done.gradients, self.env_steps + int(done.total.env_steps))

    def reaches(self, stop: Stop | None, row: RoundMetrics) -> bool:
        """Whether a total is reached, after the round of this row."""
        if stop is None:
            return False
        seconds = float(to_float64(row.time)[0])
        return (
            self.gradients >= stop.gradients[0]
            or self.env_steps >= stop.env_steps[0]
            or seconds >= stop.simulated_time[0]
        )

    def progress(self, iteration: int, seconds: float) -> Progress:
        """How far the run is."""
        real = lambda number: jnp.asarray(number, jnp.float32)
        return Progress(real(iteration), real(self.gradients), real(self.env_steps), real(seconds))


def _as_time(seconds: float) -> SimulatedTime:
    high = np.float32(seconds)
    return SimulatedTime(jnp.asarray([high], jnp.float32), jnp.asarray([seconds - float(high)], jnp.float32))


def _refuse_simulated(config: Config) -> None:
    """Refuses what the simulated clock alone can have."""
    method = config.method
    if method.not_on_ray:
        raise UserError(
            f"method.name: got {method.name}, {method.not_on_ray}; allowed with runtime.kind ray: methods that do not"
        )
    if config.workers.byzantine:
        raise UserError("workers.byzantine: simulated only, allowed with runtime.kind ray: none")
