"""The compiled programs of a run, or of many at once: a chunk of rounds, and an evaluation."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.cache import keep_compiled_programs
from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.methods import ArrivalMethod, iterate
from nigt_jax.rollout import in_32_bits, make_environment
from nigt_jax.training._arrivals import run_arrivals
from nigt_jax.training._endless import what_never_ends
from nigt_jax.training._evaluate import evaluate, summarise
from nigt_jax.training._lanes import choose_lanes
from nigt_jax.training._parts import Parts, first_environment, make_parts, memory_for_steps, with_lanes
from nigt_jax.training._round import RoundMetrics, run_chunk
from nigt_jax.training._settings import Settings, check_runs, stacked_settings
from nigt_jax.training._spmd import AXIS, Program, Spmd, claim_devices
from nigt_jax.training._state import TrainState, initial_state, stream
from nigt_jax.training._steps import whole_steps


class Trainer:
    """Two programs. After :meth:`compile` every call only runs them.

    State, metrics and evaluations have an axis of runs, also where there is only one.

    Args:
      config: of the run. Its devices share the episodes of every round.
      environment: a Brax environment without wrappers, instead of the one that the configuration names.
      runs: instead of a single run, many that differ from `config` in traced settings only: seed, step sizes, times,
        and so on. Every device has its share of them, and the runs of a device share its lanes.

    Attributes:
      config: the same, with the numbers of devices, lanes and episodes in a block that there are.
      parts: what the programs are made of.
      devices: those that share the work.
      compile_seconds: what tracing and compiling took, and finding out how many lanes are best.
    """

    def __init__(self, config: Config, environment: Any = None, runs: Sequence[Config] | None = None):
        if config.training.compilation_cache:
            keep_compiled_programs()
        self._runs = [config] if runs is None else list(runs)
        check_runs(config, self._runs)
        self.devices = claim_devices(config, config.splits) if runs is None else _claim_for(len(self._runs), config)
        self.compile_seconds = 0.0
        self.parts, self.config = self._resolved(config, environment, apart=runs is not None)
        self._spmd = Spmd(config.training.spmd, self.devices, apart=runs is not None)
        self._settings = stacked_settings(self._runs, self.parts.policy)
        self._placed = self._spmd.place(self._settings)
        self._evaluation_key = self._spmd.replicate(stream(config.evaluation.seed, "evaluation"))
        self._start = jax.jit(functools.partial(initial_state, self.parts))

    def _resolved(self, config: Config, environment: Any, apart: bool) -> tuple[Parts, Config]:
        """The parts, and the configuration with what was left to us."""
        device, count, named = self.devices[0], len(self.devices), config.environment
        made = in_32_bits(make_environment(named.name, named.backend) if environment is None else environment)
        parts = make_parts(
            config,
            made,
            devices=1 if apart else count,
            axis=None if apart else AXIS,
            runs=len(self._runs) // count if apart else 1,
            platform=device.platform,
            memory=memory_for_steps(self.devices),
        )
        lanes: Any = config.training.lanes
        if lanes == "auto":
            started = time.perf_counter()
            alike = parts._replace(environment=first_environment(config, made))
            lanes = choose_lanes(config, alike, self.devices, keep=environment is None and ":" not in named.name)
            self.compile_seconds += time.perf_counter() - started
        parts = with_lanes(parts, lanes, device.platform)
        training = dataclasses.replace(config.training, lanes=parts.widths[0])
        if not apart:
            training = dataclasses.replace(training, devices=count, block=count * parts.episodes)
        return parts, dataclasses.replace(config, training=training)

    def initial_state(self) -> TrainState:
        """The state before the first round."""
        seeds = jnp.asarray([run.seed for run in self._runs], jnp.uint32)
        return self.place(self._start(self._settings, seeds))

    def place(self, state: TrainState) -> TrainState:
        """A state, from wherever it comes, where the programs expect it."""
        return self._spmd.place(state)

    def compile(self) -> None:
        """Compiles both programs, one after the other: XLA itself uses several threads for each."""
        started = time.perf_counter()
        _ = self.chunk, self._evaluation
        self.compile_seconds += time.perf_counter() - started

    @functools.cached_property
    def chunk(self) -> Program:
        """The program of a chunk of rounds, compiled when it is first asked for; :meth:`run` calls it."""
        run = run_arrivals if isinstance(self.parts.method, ArrivalMethod) else run_chunk
        rounds = functools.partial(run, self.parts, self.config.training.chunk)
        number = self._spmd.replicate(jnp.asarray(0, jnp.int32))
        with jax.default_matmul_precision("highest"):  # TF32 would not reproduce a CPU's numbers
            return self._spmd.compile(rounds, (self.initial_state(), self._placed), (number,), donate_first=True)

    @functools.cached_property
    def _evaluation(self) -> Program:
        with jax.default_matmul_precision("highest"):
            return self._spmd.compile(self._play, (self.initial_state(), self._placed), (self._evaluation_key,))

    def program(
        self, function: Callable[[Parts, TrainState, Settings], Any], options: Mapping[str, Any] | None = None
    ) -> Callable[[TrainState], Any]:
        """Another program of a run's state, such as a part of a round; compiled at once.

        Args:
          function: of one device; what it gives has to be the same on all that share a run.
          options: of XLA, other than those that training is compiled with.
        """
        with jax.default_matmul_precision("highest"):
            arguments = (self.initial_state(), self._placed)
            compiled = self._spmd.compile(functools.partial(function, self.parts), arguments, options=options)
        return lambda state: compiled(state, self._placed)

    def run(self, state: TrainState, rounds: int) -> tuple[TrainState, RoundMetrics]:
        """Runs `rounds` rounds, at most ``training.chunk``. The state given is used up.

        Returns:
          The state after, and the metrics of each round (leading axes `rounds`, `runs`) on the host. It waits for both.
        """
        number = self._spmd.replicate(jnp.asarray(rounds, jnp.int32))
        state, metrics = self.chunk(state, self._placed, number)
        metrics = jax.tree.map(lambda m: m[:rounds], self._spmd.collect(metrics, axis=1))
        steps = {name: whole_steps(getattr(metrics, name)) for name in ("env_steps", "computed_steps")}
        return state, metrics._replace(**steps)

    def what_never_ends(self, clock: Any, iteration: int, ended: int) -> str:
        """One clause on the round of the first run that never ends, and the workers it waits for.

        Args:
          clock: that of the state at `iteration`, on the host.
          iteration: rounds done by then.
          ended: rounds that ended after it.
        """
        settings, clock = jax.tree.map(lambda x: x[0], (self._settings, clock))
        return what_never_ends(self.parts.method, settings, clock, iteration, ended)

    def evaluate(self, state: TrainState) -> list[dict[str, Any]]:
        """What records say of each run's iterate: ``return_mean``, ``return_std``, ``episode_length_mean``, ..."""
        played = self._spmd.collect(self._evaluation(state, self._placed, self._evaluation_key))
        workers = self.config.workers.count if self.config.workers.environments else 1
        number = self.config.evaluation.episodes
        rows = zip(*map(np.asarray, (played.returns, played.lengths, played.diverged)), strict=True)
        return [summarise(returns, lengths, diverged, number, workers) for returns, lengths, diverged in rows]

    def acquainted(self, state: TrainState) -> TrainState:
        """The state before the first round, in which a lowest reward is known, should the physics break at once.

        It is the lowest mean reward of a step in an evaluation episode that did not break; rounds find lower ones.
        """
        played = self._spmd.collect(self._evaluation(state, self._placed, self._evaluation_key))
        whole = ~played.diverged & (played.lengths > 0)
        means = np.where(whole, played.returns / np.maximum(played.lengths, 1).astype(np.float32), 0)
        lowest = jnp.asarray(np.minimum(means.min(axis=1), 0))
        sent = state.sent
        if sent != ():
            workers = self.config.workers.count
            sent = sent._replace(lowest=self._spmd.place(jnp.repeat(lowest[:, None], workers, axis=1)))
        return state._replace(lowest=self._spmd.place(lowest), sent=sent)

    def _play(self, state: TrainState, settings: Settings, key: Any) -> Any:
        model = jax.vmap(functools.partial(iterate, self.parts.method))(state.server)
        episodes = self.config.evaluation.episodes
        charge = settings.charge(state.lowest)
        return evaluate(self.parts, episodes, model, state.normalizer, key, settings.variation, charge)


def _claim_for(runs: int, config: Config) -> list[jax.Device]:
    """The devices that have so many runs between them, as many each."""
    devices = claim_devices(config, lambda k: runs % k == 0)
    if runs % len(devices):
        raise UserError(f"training.devices: got {len(devices)}, allowed: a number that divides the {runs} runs")
    return devices
