"""The compiled programs of a run: a chunk of rounds, and an evaluation."""

import concurrent.futures
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.config import Config
from nigt_jax.methods import ArrivalMethod, iterate
from nigt_jax.rollout import make_environment
from nigt_jax.training._arrivals import run_arrivals
from nigt_jax.training._endless import what_never_ends
from nigt_jax.training._evaluate import evaluate, summarise
from nigt_jax.training._round import RoundMetrics, run_chunk
from nigt_jax.training._spmd import Spmd, claim_devices, keep_compiled_programs
from nigt_jax.training._state import Settings, TrainState, initial_state, make_parts, make_settings, stream


class Trainer:
    """A run's two programs. After :meth:`compile` every call only runs them.

    Args:
      config: of the run.
      environment: a Brax environment without wrappers, instead of the one that the configuration names.

    Attributes:
      devices: those that share the work.
      compile_seconds: what tracing and compiling took.
    """

    def __init__(self, config: Config, environment: Any = None):
        self.config = config
        if config.training.compilation_cache:
            keep_compiled_programs()
        self.devices = claim_devices(config)
        self.compile_seconds = 0.0
        env = config.environment
        self._parts = make_parts(config, environment or make_environment(env.name, env.backend), len(self.devices))
        self._spmd = Spmd(config.training.spmd, self.devices)
        self._settings = self._spmd.replicate(make_settings(config, self._parts.policy))
        self._evaluation_key = self._spmd.replicate(stream(config.evaluation.seed, "evaluation"))
        self._start = jax.jit(functools.partial(initial_state, self._parts))
        self._chunk: Any = None
        self._evaluation: Any = None

    def initial_state(self) -> TrainState:
        """The state before the first round."""
        return self.place(self._start(self._settings, jnp.asarray(self.config.seed, jnp.uint32)))

    def place(self, state: TrainState) -> TrainState:
        """A state, from wherever it comes, where the programs expect it."""
        return self._spmd.replicate(state)

    def compile(self) -> None:
        """Compiles both programs, side by side: XLA leaves Python alone while it works."""
        started = time.perf_counter()
        with jax.default_matmul_precision("highest"):  # TF32 would not reproduce a CPU's numbers
            state, rounds = self.initial_state(), self._spmd.replicate(jnp.asarray(0, jnp.int32))
            run = run_arrivals if isinstance(self._parts.method, ArrivalMethod) else run_chunk
            chunk = functools.partial(run, self._parts, self.config.training.chunk)
            lowered = (
                self._spmd.lower(chunk, state, self._settings, rounds, donate_first=True),
                self._spmd.lower(self._play, state, self._settings, self._evaluation_key),
            )
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self._chunk, self._evaluation = pool.map(lambda program: program.compile(), lowered)
        self.compile_seconds = time.perf_counter() - started

    def run(self, state: TrainState, rounds: int) -> tuple[TrainState, RoundMetrics]:
        """Runs `rounds` rounds, at most ``training.chunk``. The state given is used up.

        Returns:
          The state after, and the metrics of each round (leading axis `rounds`) on the host. It waits for both.
        """
        number = self._spmd.replicate(jnp.asarray(rounds, jnp.int32))
        state, metrics = self._chunk(state, self._settings, number)
        return state, jax.tree.map(lambda m: m[:rounds], jax.device_get(metrics))

    def what_never_ends(self, clock: Any, iteration: int, ended: int) -> str:
        """One clause on the round that never ends, and the workers it waits for.

        Args:
          clock: that of the state at `iteration`, on the host.
          iteration: rounds done by then.
          ended: rounds that ended after it.
        """
        return what_never_ends(self._parts.method, self._settings, clock, iteration, ended)

    def evaluate(self, state: TrainState) -> dict[str, float]:
        """Return of the iterate, as a record has it: ``return_mean``, ``return_std``, ``episode_length_mean``."""
        played = self._evaluation(state, self._settings, self._evaluation_key)
        workers = self.config.workers.count if self.config.workers.environments else 1
        return summarise(played, self.config.evaluation.episodes, workers)

    def _play(self, state: TrainState, settings: Settings, key: Any) -> Any:
        model = iterate(self._parts.method, state.server)
        episodes = self.config.evaluation.episodes
        return evaluate(self._parts, episodes, model, state.normalizer, key, settings.variation)
