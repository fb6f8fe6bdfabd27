"""The simulated clock: who would have finished what, when; the devices of this process do only useful work."""

import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import Clock, to_float64
from nigt_jax.collectives import AXIS
from nigt_jax.compilation import jit
from nigt_jax.config import Config
from nigt_jax.environments import in_32_bits, make_environment, probe
from nigt_jax.errors import UserError
from nigt_jax.estimators import Estimator
from nigt_jax.methods import Method, iterate, method_of_many
from nigt_jax.policies import Policy, Start
from nigt_jax.runtimes._devices import claim_devices, device_name, of_this_process
from nigt_jax.runtimes._lanes import choose_lanes
from nigt_jax.runtimes._maps import few_maps_are_left, forget_programs
from nigt_jax.runtimes._memory import refuse_too_much
from nigt_jax.runtimes._parts import first_environment, make_parts, memory_for_steps, on_platform, with_lanes
from nigt_jax.runtimes._places import Places
from nigt_jax.runtimes._runtime import Hardware, Stop
from nigt_jax.runtimes._spmd import Program, Spmd
from nigt_jax.training import (
    Episodes,
    Hyperparameters,
    Limits,
    Parts,
    RoundMetrics,
    Spent,
    TrainState,
    check_runs,
    engine_of,
    evaluate,
    initial_state,
    limits_of,
    number_of_parameters,
    spent_of,
    stacked_hyperparameters,
    stream,
    summarise,
    whole_steps,
)


class SimulatedRuntime:
    """A run on a simulated clock: one SPMD program, for a chunk of rounds and for an evaluation.

    State, metrics and evaluations have an axis of runs, also where there is only one. Everything that the configuration
    names can be handed in instead.

    Args:
      config: the run's configuration. Its devices share the episodes of every round.
      environment: an environment without wrappers; see :class:`nigt_jax.environments.Environment`.
      policy: the policy.
      estimator: the estimator.
      method: the method.
      start: the parameters and statistics that training starts with; None for fresh ones. `nigt_jax.train` and sweeps
        read ``policy.start`` of the configuration and hand it in; here it is not looked at.
      clock: how long workers take.
      devices: the devices that share the work.
      runs: instead of a single run, many that differ from `config` in traced settings only: seed, step sizes, times,
        and so on. Every device has an equal share of them, filled up with runs that rest; those of a device share
        its lanes.
      room: of so many runs, if there are fewer, the others rest; programs with room for as many are the same.

    Attributes:
      config: the same, with the numbers of devices, lanes and episodes in a block that there are.
      parts: what the programs are made of.
      hyperparameters: the runs' traced hyperparameters, leaves with an axis of runs.
      devices: the devices that share the work.
      compile_seconds: seconds that tracing and compiling took, and finding out how many lanes are best.

    Raises:
      UserError: the devices are not there, the environment cannot be played, or memory is too small.
    """

    staff: None = None

    def __init__(
        self,
        config: Config,
        environment: Any = None,
        *,
        policy: Policy | None = None,
        estimator: Estimator | None = None,
        method: Method | None = None,
        start: Start | None = None,
        clock: Clock | None = None,
        devices: Sequence[jax.Device] | None = None,
        runs: Sequence[Config] | None = None,
        room: int = 0,
    ):
        self._runs = [config] if runs is None else list(runs)
        check_runs(config, self._runs)
        apart = runs is not None
        wanted = max(room, len(self._runs))
        claim = functools.partial(_claim_for, wanted) if apart else _claim
        self.devices = claim(config) if devices is None else list(devices)
        self._places = Places(len(self._runs), wanted, len(self.devices) if apart else 1)
        self._runs = self._places.filled(self._runs)
        self.compile_seconds = 0.0
        if apart and method is None:
            method = method_of_many(config.method.name)
        given = {"policy": policy, "estimator": estimator, "method": method, "start": start}
        self.parts, self.config = self._resolved(config, environment, apart, given)
        self._spmd = Spmd(config.training.spmd, self.devices, apart=apart)
        parts = self.parts
        self.hyperparameters = stacked_hyperparameters(self._runs, parts.policy, parts.estimator, parts.method, clock)
        refuse_too_much(parts, self.hyperparameters, self.devices)
        self._placed = self._spmd.place(self.hyperparameters)
        self._evaluation_key = self._spmd.replicate(stream(config.evaluation.seed, "evaluation"))
        self._start = jit(functools.partial(initial_state, parts))

    def for_runs(self, runs: Sequence[Config]) -> "SimulatedRuntime":
        """The same programs, as far as they are compiled, for other runs, which may be fewer.

        Raises:
          UserError: they differ from the runtime's own in more than what is traced, or depend on steps of the
            environment, which the programs do not count where none of their runs did.
        """
        if len(runs) > len(self._runs):
            raise UserError(f"runs: got {len(runs)}, allowed: up to {len(self._runs)}, which the programs are made for")
        check_runs(self.config, runs)
        if any(run.counts_steps for run in runs) and not self.parts.counts_steps:
            raise UserError("runs: something in them is in env_steps, which the programs do not count")
        other, parts = copy.copy(self), self.parts
        other._places = Places(len(runs), len(self._runs), len(self.devices) if self._spmd.apart else 1)
        other._runs = other._places.filled(runs)
        largest = self.config.method.largest_batch
        other.hyperparameters = stacked_hyperparameters(
            other._runs, parts.policy, parts.estimator, parts.method, largest=largest
        )
        shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
        if shapes(other.hyperparameters) != shapes(self.hyperparameters):
            raise UserError("runs: their workers differ in kind from those of the runs that the programs are made for")
        other._placed = self._spmd.place(other.hyperparameters)
        other.compile_seconds = 0.0
        return other

    def _resolved(
        self, config: Config, environment: Any, apart: bool, given: Mapping[str, Any]
    ) -> tuple[Parts, Config]:
        """The parts, and the configuration with what was left to the runtime."""
        device, count = self.devices[0], len(self.devices)
        made = in_32_bits(make_environment(config.environment) if environment is None else environment)
        parts = make_parts(
            config,
            made,
            devices=1 if apart else count,
            axis=None if apart else AXIS,
            runs=len(self._runs) // count if apart else 1,
            counts_steps=any(run.counts_steps for run in self._runs),
            platform=device.platform,
            memory=memory_for_steps(self.devices),
            **given,
        )
        lanes: Any = config.training.lanes
        if not isinstance(lanes, int):
            started = time.perf_counter()
            alike = parts._replace(environment=first_environment(config, made))
            is_brax = environment is None and config.environment.suite == "brax"
            lanes = choose_lanes(config, alike, of_this_process(self.devices), keep=is_brax)
            self.compile_seconds += time.perf_counter() - started
        parts = with_lanes(config, parts, lanes, 1 if apart else count, device.platform)
        training = dataclasses.replace(config.training, lanes=parts.num_lanes[0])
        if not apart:
            training = dataclasses.replace(training, devices=count, block=count * parts.episodes)
        return parts, dataclasses.replace(config, training=training)

    @property
    def hardware(self) -> Hardware:
        """What it computes on."""
        first = self.devices[0]
        return Hardware(len(self.devices), device_name(first), first.platform, self.parts.num_lanes[0])

    @property
    def parameters(self) -> int:
        """Number of the policy's parameters."""
        return number_of_parameters(self.parts.policy)

    def probe(self) -> Any:
        """What the environment does with a fixed key and fixed actions."""
        return probe(self.parts.environment, of_this_process(self.devices)[0])

    def initial_state(self) -> TrainState:
        """The state before the first round."""
        seeds = jnp.asarray([run.seed for run in self._runs], jnp.uint32)
        return self._spmd.place(self._start(self.hyperparameters, seeds))

    def place(self, state: TrainState) -> TrainState:
        """A state, from wherever it comes, where the programs expect it."""
        return self._spmd.place(jax.tree.map(lambda x: x[self._places.run], state))

    def unplaced(self, state: TrainState) -> TrainState:
        """A state that the programs have, as :meth:`place` takes it: with one leading axis, of runs."""
        if not self._spmd.apart:
            return state
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[self._places.place], jax.device_get(state))

    def compile(self) -> None:
        """Compiles; XLA itself uses several threads."""
        started = time.perf_counter()
        if few_maps_are_left():  # as after many runs in one process
            forget_programs()
        _ = self.chunk, self._copied
        self.compile_seconds += time.perf_counter() - started

    @functools.cached_property
    def chunk(self) -> Program:
        """The program of a chunk of rounds and an evaluation after it, compiled when it is first asked for.

        It is one program because compiling is mostly compiling the environment, and XLA compiles what is alike in a
        program once. :meth:`run` and :meth:`evaluate` call it, each for a part.
        """
        arguments = self._arguments()  # elsewhere than under that precision, or JAX compiles the start once more
        with jax.default_matmul_precision("highest"):  # TF32 would not reproduce a CPU's numbers
            work = functools.partial(self._work, self.parts)
            return self._spmd.compile(work, arguments, (self._evaluation_key,), donate_first=True)

    def _work(
        self,
        parts: Parts,
        state: TrainState,
        hyperparameters: Hyperparameters,
        limits: Limits,
        spent: Spent,
        asked: jax.Array,
        key: jax.Array,
    ) -> tuple[TrainState, RoundMetrics, Episodes]:
        """Rounds up to the limits, and then an evaluation of the runs that are asked for."""
        run = engine_of(parts.method).run
        after, metrics = run(parts, self.config.training.chunk, state, hyperparameters, limits, spent)
        model = jax.vmap(functools.partial(iterate, parts.method))(after.server)
        known = (hyperparameters.variation, hyperparameters.charge(after.lowest))
        number = self.config.evaluation.episodes
        played = evaluate(parts, number, model, after.normalizer, key, *known, asked, beside_training=True)
        return after, metrics, played

    def _arguments(self) -> tuple:
        nobody = jnp.zeros(len(self._runs), bool)
        return (self.initial_state(), self._placed, *self._spmd.place((*self._limits(0, None), nobody)))

    @functools.cached_property
    def _copied(self) -> Program:
        """A copy of the state, for an evaluation: the program of a chunk uses up what it is given."""
        return self._spmd.compile(functools.partial(jax.tree.map, jnp.copy), (self.initial_state(),))

    def exported(self, platforms: Sequence[str]) -> jax.export.Exported:
        """The program as devices of other platforms would have it; lowered here, and not compiled.

        Args:
          platforms: of accelerators, as :mod:`jax.export` names them: ``cuda``, ``rocm``, ``tpu``.
        """
        work, arguments = functools.partial(self._work, on_platform(self.parts, platforms[0])), self._arguments()
        with jax.default_matmul_precision("highest"):
            return self._spmd.export(work, arguments, (self._evaluation_key,), platforms=platforms)

    def program(
        self, function: Callable[..., Any], options: Mapping[str, Any] | None = None, *, shared: tuple = ()
    ) -> Callable[..., Any]:
        """Another program of a run's state, such as a part of a round; compiled at once.

        Args:
          function: the function of one device, (parts, state, hyperparameters, *shared) to what it makes of them; its
            result has to be the same on all that share a run.
          options: XLA's options, other than those that training is compiled with.
          shared: arguments beside the state that the program is told at every call, as :meth:`replicated` gives them;
            these have their shapes.

        Returns:
          The program, a function of (state, *shared).
        """
        arguments = (self.initial_state(), self._placed)
        with jax.default_matmul_precision("highest"):
            bound = functools.partial(function, self.parts)
            compiled = self._spmd.compile(bound, arguments, shared, options=options)
        return lambda state, *shared: compiled(state, self._placed, *shared)

    def replicated(self, tree: Any) -> Any:
        """A tree of arrays on every device."""
        return self._spmd.replicate(tree)

    def run(
        self, state: TrainState, rounds: int | Sequence[int], stop: Stop | None = None
    ) -> tuple[TrainState, RoundMetrics]:
        """Runs so many rounds, at most ``training.chunk``, or fewer where a run has to stop. The state is used up.

        Args:
          state: the runs' state.
          rounds: of every run, or of each; a run of 0 rests.
          stop: what ends a run's rounds sooner.

        Returns:
          The state after, and the metrics of each round (leading axes: rounds of the run that made most, runs) on the
          host. It waits for both.
        """
        nobody = jnp.zeros(len(self._runs), bool)
        state, metrics, _ = self._called(state, self._limits(rounds, stop), nobody)
        metrics = jax.tree.map(lambda m: m[:, self._places.place], self._spmd.collect(metrics, axis=1))
        longest = int(metrics.made.sum(axis=0).max())
        metrics = jax.tree.map(lambda m: m[:longest], metrics)
        steps = {name: whole_steps(getattr(metrics, name)) for name in ("env_steps", "computed_steps")}
        return state, metrics._replace(**steps)

    def _limits(self, rounds: int | Sequence[int], stop: Stop | None) -> tuple[Limits, Spent]:
        runs = len(self)
        limits, spent = limits_of(rounds, runs), spent_of(runs)
        if stop is not None:
            limits = limits_of(rounds, runs, stop.gradients, stop.env_steps, stop.simulated_time)
            spent = spent_of(runs, stop.spent_gradients, stop.spent_env_steps)
        return jax.tree.map(self._filled_up, (limits, spent))

    def _filled_up(self, of_runs: jax.Array) -> jax.Array:
        """With zeros for the runs that rest."""
        return jnp.zeros((len(self._runs), *of_runs.shape[1:]), of_runs.dtype).at[self._places.place].set(of_runs)

    def close(self) -> None:
        """Nothing is held outside of this process."""

    def __len__(self) -> int:
        """Number of runs, without those that rest."""
        return self._places.place.size

    def simulated_time(self, state: TrainState) -> Any:
        """Simulated time of each run, in the clock's unit; float64 [runs]."""
        return to_float64(self._spmd.collect(state.clock.now))[self._places.place]

    def begun(self, state: TrainState) -> Any:
        """Gradients that each worker of each run has begun since the start; int [runs, workers]."""
        return np.asarray(self._spmd.collect(state.clock.begun))[self._places.place]

    def what_never_ends(self, state: TrainState, iteration: int, ended: int, run: int = 0) -> str:
        """One clause on the round of a run that never ends, and on the workers it waits for.

        Args:
          state: the state at `iteration`.
          iteration: rounds that the run had done by then.
          ended: rounds that ended after it.
          run: number of the run, from 0.
        """
        clock, phase = self._spmd.collect((state.clock, state.phase))
        everyone = (self.hyperparameters, clock, phase)
        own, clock, phase = jax.tree.map(lambda x: x[self._places.place[run]], everyone)
        method = self.parts.method
        return engine_of(method).endless(method, own, clock, phase, iteration, ended)

    def evaluate(self, state: TrainState, asked: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """What records say of each run's iterate: ``return_mean``, ``return_std``, ``episode_length_mean``, ...

        Args:
          state: the runs' state.
          asked: which runs; what is returned of the others means nothing. By default all.
        """
        played = self._played(state, asked)
        workers = self.config.workers.count if self.config.workers.differ else 1
        number = self.config.evaluation.episodes
        columns = (np.asarray(x)[self._places.place] for x in (played.returns, played.lengths, played.diverged))
        rows = zip(*columns, strict=True)
        return [summarise(returns, lengths, diverged, number, workers) for returns, lengths, diverged in rows]

    def acquainted(self, state: TrainState) -> TrainState:
        """The state before the first round, in which a lowest reward is known, where the physics has broken at once.

        It is the lowest mean reward of a step in an evaluation episode that did not break; rounds find lower ones.
        """
        played = self._played(state)
        whole = ~played.diverged & (played.lengths > 0)
        means = np.where(whole, played.returns / np.maximum(played.lengths, 1).astype(np.float32), 0)
        broken = played.diverged.any(axis=1)  # what one of many runs meets is nothing to the others
        lowest = jnp.asarray(np.where(broken, np.minimum(means.min(axis=1), 0), 0), jnp.float32)
        sent = state.sent
        if sent != ():
            workers = self.config.workers.count
            sent = sent._replace(lowest=self._spmd.place(jnp.repeat(lowest[:, None], workers, axis=1)))
        return state._replace(lowest=self._spmd.place(lowest), sent=sent)

    def _played(self, state: TrainState, asked: Sequence[bool] | None = None) -> Episodes:
        chosen = self._filled_up(jnp.ones(len(self), bool) if asked is None else jnp.asarray(asked, bool))
        return self._spmd.collect(self._called(self._copied(state), self._limits(0, None), chosen)[2])

    def _called(
        self, state: TrainState, limits: tuple[Limits, Spent], asked: jax.Array
    ) -> tuple[TrainState, RoundMetrics, Episodes]:
        """What the program makes of a state, which is used up."""
        return self.chunk(state, self._placed, *self._spmd.place((*limits, asked)), self._evaluation_key)


def _claim(config: Config) -> list[jax.Device]:
    return claim_devices(config.training, config.splits)


def _claim_for(runs: int, config: Config) -> list[jax.Device]:
    """The devices that have so many runs between them."""
    devices = claim_devices(config.training, lambda k: k <= runs)
    if len(devices) > runs:
        raise UserError(f"training.devices: got {len(devices)}, allowed: up to {runs}, one for each of the runs")
    return devices
