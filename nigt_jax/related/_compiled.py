"""A system's programs: iterations, as many at once as a chunk has, and the measuring of results."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from nigt_jax.compilation import compile_options
from nigt_jax.related._system import Counted, Scalars, System
from nigt_jax.runtimes import Stop, devices_of
from nigt_jax.training import all_finite


class Metrics(NamedTuple):
    """What iterations report.

    Attributes:
      made: whether there was this iteration at all.
      finite: whether the state that it has left is.
      counted: what it has used.
      scalars: numbers for its record.
    """

    made: Any
    finite: Any
    counted: Counted
    scalars: Scalars

    @property
    def env_steps(self) -> Any:
        """Steps of an environment."""
        return self.counted.env_steps


class Compiled:
    """Computes a system's iterations on one device, with one program however many are asked for.

    Args:
      system: what they are.

    Attributes:
      compile_seconds: that compiling has taken.
    """

    parameters = 0  # what messages carry is counted by the system itself

    def __init__(self, system: System):
        self._system, self.compile_seconds = system, 0.0
        self.device = devices_of(system.config.training.platform)[0]
        self._run: Any = None
        self._evaluate: Any = None

    def initial_state(self) -> Any:
        """The state before the first iteration."""
        with jax.default_device(self.device):
            begin = jax.jit(lambda: self._system.begin(jax.random.key(self._system.config.seed)))
            return begin.lower().compile(compile_options(self.device.platform))()

    @property
    def _shape(self) -> Any:
        return jax.eval_shape(lambda: self._system.begin(jax.random.key(0)))

    def place(self, state: Any) -> Any:
        """A state on the device."""
        return jax.device_put(state, self.device)

    def compile(self) -> None:
        """Compiles both programs."""
        started, state = time.perf_counter(), self._shape
        options = compile_options(self.device.platform)
        with jax.default_device(self.device):
            self._run = jax.jit(self._iterations).lower(state, jax.ShapeDtypeStruct((), jnp.int32)).compile(options)
            self._evaluate = jax.jit(self._system.evaluate).lower(state).compile(options)
        self.compile_seconds = time.perf_counter() - started

    def run(self, state: Any, rounds: Sequence[int], stop: Stop) -> tuple[Any, Metrics]:
        """Runs so many iterations, at most a chunk; leaves of the metrics are [iterations, 1], on the host."""
        del stop  # a run of a related system ends by iterations alone
        state, metrics = self._run(state, np.int32(rounds[0]))
        return state, jax.tree.map(lambda x: np.asarray(x)[:, None], jax.device_get(metrics))

    def evaluate(self, state: Any, asked: Sequence[bool]) -> list[dict[str, Any]]:
        """The results so far."""
        del asked
        return [{name: float(value) for name, value in jax.device_get(self._evaluate(state)).items()}]

    def acquainted(self, state: Any) -> Any:
        """The state as it is: no evaluation teaches it anything."""
        return state

    def unplaced(self, state: Any) -> Any:
        """The state as a checkpoint keeps it."""
        return state

    def what_never_ends(self, state: Any, iteration: int, ended: int, run: int = 0) -> str:
        """One clause on the iteration that never ends."""
        del state, run
        return f"iteration {iteration + ended + 1} never ends: an agent never answers again"

    def _iterations(self, state: Any, rounds: Int[Array, ""]) -> tuple[Any, Metrics]:
        """As many iterations as are asked for, in the places of a whole chunk."""
        _, counted, scalars = jax.eval_shape(self._system.step, state)
        unknown, nothing = jnp.zeros([], bool), jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (counted, scalars))

        def one(state: Any, number: Int[Array, ""]) -> tuple[Any, Metrics]:
            def step() -> tuple[Any, Any]:
                after, counted, scalars = self._system.step(state)
                return after, (all_finite(after), counted, scalars)

            made: Bool[Array, ""] = number < rounds
            state_after, report = jax.lax.cond(made, step, lambda: (state, (unknown, *nothing)))
            return state_after, Metrics(made, *report)

        return jax.lax.scan(one, state, jnp.arange(self._system.config.training.chunk, dtype=jnp.int32))
