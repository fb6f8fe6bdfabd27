"""What a worker does: unit after unit of the order that it has, until it gets another one. It knows nothing of Ray."""

import collections
import contextlib
import functools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import make_clock
from nigt_jax.compilation import jit
from nigt_jax.config import Config, RayRuntimeConfig
from nigt_jax.environments import make_environment, of_workers
from nigt_jax.methods import METHODS, start
from nigt_jax.runtimes._parts import make_parts
from nigt_jax.runtimes.cluster._messages import Dropped, Order, Ready, Report
from nigt_jax.training import (
    Assignment,
    Hyperparameters,
    Parts,
    Unit,
    add_units,
    advance_unit,
    begin_unit,
    finish_contribution,
    finish_unit,
    make_hyperparameters,
    number_of_parameters,
    stream,
)

_LOOKS = 8  # times in a unit that a worker looks whether somebody still waits for it
_AHEAD = 32  # units of an order that a worker does before it waits until the driver has heard of them
_APART = 2 * _AHEAD  # sums that are kept, the newest: more than a worker can be ahead of what the driver counts
_REAL_WORKERS = 0x57E9  # of their keys, which are no keys of a simulated clock's


class Worker:
    """One worker. One thread calls :meth:`work`, and others the rest.

    Args:
      config: the run's configuration.
      number: the worker's, from 0.
      incarnation: how often it was started before.
    """

    def __init__(self, config: Config, number: int, incarnation: int):
        self._number, self._incarnation = number, incarnation
        self._changed = threading.Condition()
        self._order: Order | None = None
        self._assignment: Any = None
        self._held = False
        self._heard = 0  # units of the order that the driver has heard of
        self._sums = Sums()
        self._kept: tuple[int, Any] = (-1, None)  # what came of the newest order that has an outcome, and its number
        self._programs = Programs(config, number)
        self._pace = make_pace(config, number, incarnation, self._programs.parameters)
        self._begun = 0  # units, of all orders

    def give(self, order: Order, assignment: Any) -> None:
        """Another order; what is under way for the last one is dropped at the next look."""
        with self._changed:
            self._order, self._assignment, self._sums, self._heard = order, assignment, Sums(), 0
            self._changed.notify_all()

    def hold(self, held: bool) -> None:
        """Has the worker stop where it is, or go on. Meanwhile its time does not run."""
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def heard(self, order: int, count: int) -> None:
        """The driver has heard of so many units of an order."""
        with self._changed:
            if self._order is not None and self._order.number == order:
                self._heard = count
                self._changed.notify_all()

    def total(self, order: int, count: int) -> Unit | None:
        """The sum of the first so many units of an order; None where that is not to be had any more."""
        with self._changed:
            if self._order is None or self._order.number != order:
                return None
            sums = self._sums
        return sums.first(count)

    def work(self) -> Iterator[Ready | Report | Dropped]:
        """What the worker has to tell, as it comes; first, that it is ready. A thread of its own does the work.

        So a worker does not wait until what it tells has been sent.
        """
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def work() -> None:
            try:
                for event in self._work():
                    told.put(event)
            except BaseException as error:  # raised where the worker is heard
                told.put(error)

        threading.Thread(target=work, daemon=True).start()
        while True:
            event = told.get()
            if isinstance(event, BaseException):
                raise event
            yield event

    def _work(self) -> Iterator[Ready | Report | Dropped]:
        self._programs.compile()
        yield Ready(self._number, os.getpid(), socket.gethostname())
        order: Order | None = None
        while True:
            last = order
            order, assignment, sums = self._next_order(last)
            assignment = jax.device_put(assignment)
            sequence, stopwatch = 0, _Stopwatch()
            while (order.most is None or sequence < order.most) and self._is_followed(order, sequence, stopwatch):
                unit = self._unit(order, assignment, sequence, stopwatch)
                seconds = stopwatch.lap()
                if unit is None:
                    yield Dropped(self._number, order.number, sequence, seconds)
                    break
                if not self._programs.keeps:
                    sums.add(unit)
                yield Report(self._number, order.number, sequence, seconds, unit if order.delivers else None)
                sequence += 1

    def _next_order(self, last: Order | None) -> tuple[Order, Any, "Sums"]:
        with self._changed:
            self._changed.wait_for(lambda: self._order is not last)
            return cast(Order, self._order), self._assignment, self._sums

    def _is_followed(self, order: Order, sequence: int, stopwatch: "_Stopwatch") -> bool:
        """Waits until the driver has heard of all but the last few units; False where it gives another order first."""
        near = lambda: sequence < self._heard + _AHEAD
        with self._changed:
            if not near():
                with stopwatch.stopped():
                    self._changed.wait_for(lambda: self._order is not order or near())
            return self._order is order

    def _unit(self, order: Order, assignment: Any, sequence: int, stopwatch: "_Stopwatch") -> Unit | None:
        """A unit on the host; None where nobody waits for it any more."""
        least = self._pace(order.number, self._begun)
        self._begun += 1
        key = self._programs.key(order.number, sequence, self._incarnation)
        run = self._programs.begin(assignment, key)
        for steps in self._programs.parts_of_horizon:
            if self._interrupted(order, stopwatch):
                return None
            run = jax.block_until_ready(self._programs.advance(assignment, key, run, steps))
        unit = self._finished(order, assignment, key, run)
        while (left := least - stopwatch.seconds) > 0:
            if self._interrupted(order, stopwatch, left):
                return None
        return unit

    def _finished(self, order: Order, assignment: Any, key: Any, run: Any) -> Unit:
        """The unit on the host; without a gradient where the worker keeps something, and has nothing to upload."""
        if not self._programs.keeps:
            return jax.device_get(self._programs.finish(assignment, key, run))
        before = order.kept
        if before is None:
            number, before = self._kept
            if number != order.after:
                raise ValueError(f"order {order.number} goes on from {order.after}, but the worker has {number}")
        unit, uploads, after = self._programs.contribute(assignment, key, run, before, np.int32(order.episodes))
        self._kept = (order.number, after)
        return jax.device_get(unit if bool(uploads) else unit._replace(gradient=()))

    def _interrupted(self, order: Order, stopwatch: "_Stopwatch", seconds: float = 0.0) -> bool:
        """Whether there is another order by now, or after so many seconds; waits where the worker is held."""
        other = lambda: self._order is not order
        with self._changed:
            if seconds:
                self._changed.wait_for(lambda: other() or self._held, seconds)
            if self._held:
                with stopwatch.stopped():
                    self._changed.wait_for(lambda: other() or not self._held)
            return other()


class Sums:
    """What the units of an order bring, so that the sum of the first so many is there when it is asked for."""

    def __init__(self) -> None:
        self._number = 0
        self._newest: collections.deque[Unit] = collections.deque(maxlen=_APART)  # the sum after each of them
        self._lock = threading.Lock()

    def add(self, unit: Unit) -> None:
        """One more; only one thread adds."""
        total = add_units(self._newest[-1], unit) if self._newest else unit
        total = jax.device_get(total)
        with self._lock:
            self._newest.append(total)
            self._number += 1

    def first(self, count: int) -> Unit | None:
        """The sum of the first so many, at least one; None where they are not there, or too long ago."""
        with self._lock:
            place = count - 1 - (self._number - len(self._newest))
            return self._newest[place] if count >= 1 and 0 <= place < len(self._newest) else None


class Programs:
    """The compiled programs of a worker.

    Attributes:
      parts_of_horizon: steps of each of the parts in which a unit is played.
      keeps: whether the worker keeps something from round to round.
      parameters: number of the policy's parameters.
    """

    def __init__(self, config: Config, number: int):
        environment = make_environment(config.environment)
        parts = unit_parts(config, make_parts(config, environment, 1, axis=None, platform=jax.devices()[0].platform))
        self.keeps = parts.method.worker is not None
        self.parameters = number_of_parameters(parts.policy)
        tuned = make_hyperparameters(config, parts.policy, parts.estimator, parts.method, 1)
        variation = of_workers(tuned.variation, number)
        self._key = jax.random.fold_in(jax.random.fold_in(stream(config.seed, "training"), _REAL_WORKERS), number)
        self._example = example_assignment(parts, tuned)
        self._example_kept = None
        if parts.method.worker is not None:
            self._example_kept = parts.method.worker.init(self._example.params, tuned.step)
        self.begin: Callable[..., Any] = jit(lambda assignment, key: begin_unit(parts, assignment, variation, key))
        self.advance: Callable[..., Any] = jit(
            lambda assignment, key, now, steps: advance_unit(parts, assignment, variation, key, now, steps),
            donate_argnums=2,
        )
        self.finish: Callable[..., Unit] = jit(
            lambda assignment, key, now: finish_unit(parts, assignment, tuned.estimator, variation, key, now)
        )
        self.contribute: Callable[..., Any] = jit(
            lambda assignment, key, now, kept, episodes: finish_contribution(
                parts, assignment, tuned.estimator, variation, key, now, kept, episodes
            )
        )
        each = -(-parts.horizon // _LOOKS)
        begun = range(0, parts.horizon, each)
        self.parts_of_horizon = [jnp.asarray(min(each, parts.horizon - k), jnp.int32) for k in begun]

    def key(self, order: int, sequence: int, incarnation: int) -> Any:
        """The key of a unit: of each worker, start, order and place in it another one."""
        key = functools.reduce(jax.random.fold_in, (incarnation, order), self._key)
        return jax.random.fold_in(key, sequence)

    def compile(self) -> None:
        """Computes a unit for nothing."""
        key, run = self.key(0, 0, 0), None
        run = self.begin(self._example, key)
        for steps in self.parts_of_horizon:
            run = self.advance(self._example, key, run, steps)
        if self.keeps:
            jax.block_until_ready(self.contribute(self._example, key, run, self._example_kept, np.int32(1)))
        else:
            jax.block_until_ready(self.finish(self._example, key, run))


def unit_parts(config: Config, parts: Parts) -> Parts:
    """The parts of a worker's unit: one gradient, or, where workers keep something, all of theirs in a round."""
    if parts.method.worker is None:
        return parts
    return parts._replace(trajectories_per_gradient=episodes_of_a_round(config, config.method.largest_batch))


def episodes_of_a_round(config: Config, batch_size: int) -> int:
    """Episodes of each worker in a round of a method whose workers keep something."""
    method = METHODS[config.method.name]
    most = None if method.rounds is None else method.rounds.most_per_worker
    share = batch_size if most is None else most(batch_size, config.workers.count)
    return share * config.method.trajectories_per_gradient


def example_assignment(parts: Parts, hyperparameters: Hyperparameters) -> Assignment:
    """An assignment of the right shapes."""
    params, side = parts.policy.init(jax.random.key(0)), parts.method.worker
    told: Any = ()
    if side is not None:
        told = (side.told(start(parts.method, params, hyperparameters.step)), hyperparameters.step)
    return Assignment(params, parts.policy.init_normalizer(), jnp.zeros([]), told)


def make_pace(config: Config, number: int, incarnation: int, parameters: int) -> Callable[[int, int], float]:
    """The least seconds that a unit takes: those of the workers' clock, where that is asked for.

    Args:
      config: the run's configuration.
      number: the worker's, from 0.
      incarnation: how often it was started before.
      parameters: number of the policy's parameters, on which times may depend.

    Returns:
      Maps the number of the unit's order, and how many units of all orders the worker has begun before, to seconds.
    """
    unit = cast(RayRuntimeConfig, config.runtime).seconds_per_time_unit
    if not unit:
        return lambda order, begun: 0.0
    work = make_clock(config.workers, parameters, 1).work
    count = config.workers.count
    key = jax.random.fold_in(jax.random.key(config.seed), incarnation)

    def seconds(order: int, begun: int) -> float:
        # Orders go on where a run is resumed, and units are numbered anew: so random times are others than before.
        amounts = work.amounts(jax.random.fold_in(key, order), jnp.full((count, 1), begun, jnp.int32))
        return unit * float(np.asarray(amounts)[number, 0])

    return seconds


class _Stopwatch:
    """Seconds since it was made or the last lap, but for those in which it was stopped."""

    def __init__(self) -> None:
        self._began, self._stopped = time.monotonic(), 0.0

    def lap(self) -> float:
        """Its seconds; it begins again at once, so that nothing lies between two laps."""
        now = time.monotonic()
        seconds = now - self._began - self._stopped
        self._began, self._stopped = now, 0.0
        return seconds

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began - self._stopped

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._stopped += time.monotonic() - began
