"""How far runs go in one call: some rounds, or up to a total of gradients, environment steps or simulated time."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks import SimulatedTime
from nigt_jax.methods import Progress
from nigt_jax.training._steps import StepCount, at_least, steps_as_float


class Spent(NamedTuple):
    """What runs have used since their start, as far as their states do not say so; leaves have an axis of runs.

    Attributes:
      gradients: gradients counted.
      env_steps: steps of their episodes. Within a call they are kept up to date only where something depends on them,
        see :class:`nigt_jax.training.Parts`.
    """

    gradients: StepCount
    env_steps: StepCount


class Limits(NamedTuple):
    """Where runs stop: at the first round that reaches any of these; leaves have an axis of runs.

    Attributes:
      rounds: rounds of this call, at most; a run of 0 rests.
      gradients: total since the start.
      env_steps: likewise.
      time: likewise.
    """

    rounds: Int[Array, " runs"]
    gradients: StepCount
    env_steps: StepCount
    time: SimulatedTime


def reached(limits: Limits, spent: Spent, time: SimulatedTime) -> Bool[Array, " runs"]:
    """Whether runs have to stop for what they have used, however few rounds that were."""
    counted = at_least(spent.gradients, limits.gradients) | at_least(spent.env_steps, limits.env_steps)
    return is_late(time, limits.time) | counted


def is_late(now: SimulatedTime, time: SimulatedTime) -> Bool[Array, "*shape"]:
    """Whether it is that time, or later."""
    return (now.high > time.high) | ((now.high == time.high) & (now.low >= time.low))


def progress(spent: Spent, iteration: Int[Array, "*runs"], time: SimulatedTime) -> Progress:
    """How far runs are, in the units in which a schedule may be given."""
    return Progress(
        iterations=iteration.astype(jnp.float32),
        gradients=steps_as_float(spent.gradients),
        env_steps=steps_as_float(spent.env_steps),
        simulated_time=time.high,
    )


def limits_of(
    rounds: int | Sequence[int],
    runs: int,
    gradients: Sequence[int] | None = None,
    env_steps: Sequence[int] | None = None,
    time: Sequence[float] | None = None,
) -> Limits:
    """Limits from numbers on the host, one for each run; None for none.

    Args:
      rounds: rounds of each run, or of all.
      runs: number of runs.
      gradients: total of each run; so are `env_steps` and `time`, which may be infinite.
      env_steps: steps.
      time: simulated time.
    """
    at = np.full(runs, np.inf) if time is None else np.asarray(time, np.float64)
    high = at.astype(np.float32)
    low = np.where(np.isfinite(at), at - np.where(np.isfinite(at), high, 0), 0).astype(np.float32)
    return Limits(
        rounds=jnp.broadcast_to(jnp.asarray(rounds, jnp.int32), (runs,)),
        gradients=_count(gradients, runs, StepCount.most()),
        env_steps=_count(env_steps, runs, StepCount.most()),
        time=SimulatedTime(jnp.asarray(high), jnp.asarray(low)),
    )


def spent_of(runs: int, gradients: Sequence[int] | None = None, env_steps: Sequence[int] | None = None) -> Spent:
    """What runs have used, from numbers on the host; None for nothing."""
    return Spent(_count(gradients, runs, 0), _count(env_steps, runs, 0))


def _count(numbers: Sequence[int] | None, runs: int, otherwise: int) -> StepCount:
    return StepCount.of(np.full(runs, otherwise, np.int64) if numbers is None else np.asarray(numbers, np.int64))
