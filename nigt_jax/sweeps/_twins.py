"""Runs that differ in their times alone: computed once, with a time axis each.

What workers' speeds decide is who is counted, and when. Where the first is the same in two runs, their policies are the
same at every iteration, so one is computed and the other has its records with its own clock's times.
"""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.clocks import Clock, ClockState, FixedWork, clock_key, collect_round, exchange, make_clock, to_float64
from nigt_jax.config import Config, amount_of, dotted, to_dict
from nigt_jax.methods import METHODS, Rounds
from nigt_jax.records import Record
from nigt_jax.simulation import play_arrivals
from nigt_jax.sweeps._sweep import Run
from nigt_jax.training import messages

_ROUNDS = 256  # in one call


class Times(NamedTuple):
    """What a run's clock alone decides; an entry for every round.

    Attributes:
      schedule: a digest of who is counted in each, as far as that decides anything.
      simulated_time: at its end.
      uploads: messages from workers.
      downloads: messages to workers.
      discarded: gradients begun that did not count.
    """

    schedule: str
    simulated_time: Float[np.ndarray, " rounds"]
    uploads: Int[np.ndarray, " rounds"]
    downloads: Int[np.ndarray, " rounds"]
    discarded: Int[np.ndarray, " rounds"]


class Clocks:
    """Plays the clocks of runs, each kind once.

    Args:
      size: maps a configuration to the number of its policy's parameters.
    """

    def __init__(self, size: Callable[[Config], int]):
        self._size = size
        self._played: dict[str, Times | None] = {}

    def twins(self, runs: Sequence[Run]) -> dict[str, str]:
        """Of runs that need not be computed, the earlier one that they have everything but times in common with."""
        alike: dict[str, list[Run]] = {}
        for run in runs:
            alike.setdefault(_but_for_workers(run.config), []).append(run)
        found: dict[str, str] = {}
        for group in alike.values():
            first: dict[str, str] = {}
            for run in group if len(group) > 1 else ():
                times = self.times(run.config)
                if times is not None and first.setdefault(times.schedule, run.name) != run.name:
                    found[run.name] = first[times.schedule]
        return found

    def times(self, config: Config) -> Times | None:
        """A run's times up to its end; None where more than the clock decides where that is, or it never comes."""
        method = METHODS[config.method.name]
        if method.kind == "workers" or method.adapts or config.workers.trace or not _ends_by_clock(config):
            return None
        parameters = self._size(config)
        with _on_the_host():
            clock = make_clock(config.workers, parameters, config.method.largest_batch, method.plays)
        steady = isinstance(clock.work, FixedWork)
        key = f"{config.workers} {config.method} {config.training.ends} {parameters} {None if steady else config.seed}"
        if key not in self._played:
            with _on_the_host():
                self._played[key] = _play(config, clock)
        return self._played[key]


def with_times(records: Sequence[Record], times: Times) -> list[Record]:
    """Records of a run, with the times of another clock under which the same gradients count."""
    made = []
    totals = {"uploads": 0, "downloads": 0}
    for record in records:
        own, place = dict(record), record["iteration"] - 1
        if place >= 0:
            for name in totals:
                totals[name] += int(getattr(times, name)[place])
            size = record["bytes_up"] // record["uploads"]
            own |= totals | {"bytes_up": totals["uploads"] * size, "bytes_down": totals["downloads"] * size}
            own |= {
                "simulated_time": float(times.simulated_time[place]),
                "discarded": int(times.discarded[place]),
            }
        made.append(own)
    return made


def _but_for_workers(config: Config) -> str:
    settings = dotted(to_dict(config))
    kept = [item for item in settings.items() if not item[0].startswith("workers.")]
    workers = config.workers
    return repr([*sorted(kept), workers.environments, workers.randomizer, workers.randomizer_seed, workers.byzantine])


def _ends_by_clock(config: Config) -> bool:
    """Whether the clock can say when the run ends, and nothing else depends on the time that it tells."""
    given = [config.evaluation.every, config.method.learning_rate_half_life]
    units = {amount_of(amount).unit for amount in given if amount is not None}
    return "simulated_time" not in units and {end.unit for end in config.training.ends} <= {"iterations", "gradients"}


def _play(config: Config, clock: Clock) -> Times | None:
    most = {end.unit: end.number for end in config.training.ends}
    rounds, gradients = most.get("iterations", np.inf), most.get("gradients", np.inf)
    schedule = METHODS[config.method.name].schedule
    if isinstance(schedule, Rounds):
        return _play_rounds(config, clock, schedule, rounds, gradients)
    return _play_arrivals(config, clock, int(min(rounds, gradients)))


class _Row(NamedTuple):
    """One round as it leaves the compiled program; `alike` says whether every gradient weighs the same."""

    counts: Int[Array, " workers"]
    alike: Any
    complete: Any
    time: Any
    uploads: Any
    downloads: Any
    discarded: Any


def _play_rounds(config: Config, clock: Clock, schedule: Rounds, rounds: float, gradients: float) -> Times | None:
    sizes = jnp.asarray([config.method.gradients_in_first_update, config.method.gradients_per_update], jnp.int32)
    state, parts, counted, made = clock.begin(clock_key(config.seed)), [], 0, 0
    while made < rounds and counted < gradients:
        state, rows = _rounds(clock, schedule, sizes, state, jnp.int32(made))
        rows = jax.device_get(rows)
        totals = rows.counts.sum(1, dtype=np.int64)
        used = int(np.searchsorted(counted + np.cumsum(totals), gradients)) + 1  # the round that reaches it is the last
        used = int(min(used, _ROUNDS, rounds - made))
        if not rows.complete[:used].all():
            return None
        parts.append(jax.tree.map(lambda x, used=used: x[:used], rows))
        counted, made = counted + int(totals[:used].sum()), made + used
    rows = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    # Where workers and gradients are alike, how many there are is all that matters.
    alike = not config.workers.differ and rows.alike.all()
    decides = rows.counts.sum(1, dtype=np.int64) if alike else rows.counts
    return Times(_digest(decides), to_float64(rows.time), rows.uploads, rows.downloads, rows.discarded)


@functools.partial(jax.jit, static_argnames="schedule")
def _rounds(
    clock: Clock, schedule: Rounds, sizes: Int[Array, " 2"], state: ClockState, begun: Int[Array, ""]
) -> tuple[ClockState, _Row]:
    """The next rounds, as training has them; those after one that never ends mean nothing."""

    def step(state: ClockState, number: Array) -> tuple[ClockState, _Row]:
        size = jnp.where(number == 0, sizes[0], sizes[1])
        counted, collected = collect_round(clock, schedule.rule(size, clock.workers), state)
        uploads = counted.counts > 0
        after = exchange(clock, collected, uploads)
        sent = messages(clock, uploads[None])
        sums = {name: number[0] for name, number in sent.items()}
        discarded = counted.discarded.sum(dtype=jnp.int32)
        weights = schedule.weigh(counted)
        alike = jnp.all(weights == weights[0])
        return after, _Row(counted.counts, alike, counted.complete, after.now, **sums, discarded=discarded)

    return jax.lax.scan(step, state, begun + jnp.arange(_ROUNDS, dtype=jnp.int32))


def _play_arrivals(config: Config, clock: Clock, updates: int) -> Times | None:
    """Arrival by arrival; what is discarded stands with the update after it."""
    step = METHODS[config.method.name].hyperparameters(config.method)
    arrivals = updates
    while True:
        found = play_arrivals(clock, int(step.max_delay), arrivals, clock_key(config.seed))
        if len(found.worker) < arrivals:
            return None
        if found.counted.sum() >= updates:
            break
        arrivals *= 2
    last = int(np.flatnonzero(found.counted)[updates - 1])
    found = jax.tree.map(lambda x: x[: last + 1], found)
    ends = np.flatnonzero(found.counted)
    messages_each = np.diff(ends, prepend=-1)
    schedule = _digest(np.stack([found.worker, found.counted]))
    return Times(schedule, found.time[ends], messages_each, messages_each, messages_each - 1)


@contextlib.contextmanager
def _on_the_host() -> Iterator[None]:
    """Clocks are long chains of small steps, each of which is a kernel on an accelerator."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(RuntimeError):  # where JAX was told to know no CPU
            stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
        yield


def _digest(numbers: np.ndarray) -> str:
    numbers = np.ascontiguousarray(numbers, np.int64)
    return hashlib.sha256(repr(numbers.shape).encode() + numbers.tobytes()).hexdigest()
