"""One round of a method that sums gradients, on one device; of one run, or of many side by side.

Logical workers are not devices. The clock decides how many gradients of each worker count; their episodes are packed
evenly over the devices whatever worker they belong to, and what the clock discards is never computed.

State, hyperparameters and metrics have a leading axis of runs. Runs know nothing of each other: they share lanes and
programs.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import Round, exchange
from nigt_jax.collectives import least_over, sum_over
from nigt_jax.methods import Rounds, noise_scale, tell
from nigt_jax.policies import Normalizer, update_statistics
from nigt_jax.rollout import observation_statistics
from nigt_jax.training._block import (
    next_round,
    number_of_blocks,
    shares,
    step_now,
    tasks_of_block,
)
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._layout import can_be_numbered
from nigt_jax.training._limits import Spent
from nigt_jax.training._metrics import RoundMetrics, messages
from nigt_jax.training._parts import Parts
from nigt_jax.training._seen import seen_after
from nigt_jax.training._state import TrainState, all_finite
from nigt_jax.training._steps import StepCount, add_steps, count_steps
from nigt_jax.training._work import Work, no_sums, work_of_block


class _Sums(NamedTuple):
    """What a round adds up on this device, block of episodes by block; leaves have a leading axis of runs."""

    gradient: Any  # like the parameters
    half: Any  # of every other gradient, likewise; () where nobody asks
    beside: dict[str, Any]  # what else the update needs, likewise
    weight: Float[Array, " runs"]
    env_steps: StepCount
    computed_steps: StepCount
    returns: Float[Array, " runs"]
    diverged: Int[Array, " runs"]
    lowest: Float[Array, " runs"]


def run_round(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, spent: Spent, goes: Bool[Array, " runs"]
) -> tuple[TrainState, RoundMetrics]:
    """One round: clock, episodes, gradient, aggregation, update. It runs under the axis ``parts.axis``.

    What the metrics say of episodes is this device's share: nothing in a round needs the sum.

    Args:
      parts: the run's parts.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      spent: what the runs have used before.
      goes: whether a run has this round. What comes out for one that does not means nothing; no episode is played.
    """
    counted, collected = next_round(parts, state, hyperparameters, goes)
    uploads = counted.counts > 0
    clock = jax.vmap(exchange)(hyperparameters.clock, collected, uploads)
    fits = jax.vmap(functools.partial(can_be_numbered, parts.layout, each=parts.trajectories_per_gradient))(counted)
    sums, normalizer, estimator = _collect(parts, state, hyperparameters, counted, counted.complete & fits)
    step = step_now(state, hyperparameters, spent)

    axis, seen = parts.axis, state.seen
    if parts.method.adapts:  # the choice of M needs the sums of all devices, too: they are added up once, for both
        half, gradient, weight = sum_over(axis, (sums.half, sums.gradient, sums.weight))
        seen = seen_after(parts, seen, hyperparameters, counted, uploads, half, gradient, weight)
        sums, axis = sums._replace(gradient=gradient, weight=weight), None

    def absorb(server: Any, step: Any, sums: _Sums) -> tuple:
        return tell(parts.method, server, step, sums.gradient, sums.weight, axis, **sums.beside)

    server, gradient_norm = jax.vmap(absorb)(state.server, step, sums)
    gradients = counted.counts.sum(1, dtype=jnp.int32)
    metrics = RoundMetrics(
        made=jnp.ones_like(counted.complete),
        gradients=gradients,
        episodes=gradients * (parts.trajectories_per_gradient * parts.method.plays),
        discarded=counted.discarded.sum(1, dtype=jnp.int32),
        communications=jnp.ones_like(state.iteration),
        **messages(hyperparameters.clock, uploads),
        delay=jnp.zeros_like(state.iteration),
        env_steps=sums.env_steps,
        computed_steps=sums.computed_steps,
        time=clock.now,
        query_return_mean=sums.returns / (gradients.astype(jnp.float32) * parts.trajectories_per_gradient),
        gradient_norm=gradient_norm,
        diverged=sums.diverged,
        complete=counted.complete,
        too_large=~fits,
        finite=jax.vmap(all_finite)(server, normalizer, estimator),
        noise_scale=noise_scale(seen) if parts.method.adapts else (),
    )
    after = state._replace(
        iteration=state.iteration + 1,
        server=server,
        normalizer=normalizer,
        estimator=estimator,
        clock=clock,
        seen=seen,
        lowest=least_over(parts.axis, sums.lowest),
    )
    return after, metrics


def _collect(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, counted: Round, playable: Bool[Array, " runs"]
) -> tuple[_Sums, Normalizer, Any]:
    """The device's own share of the round's episodes, in blocks: sums, and what the next round will know.

    The number of blocks is traced, so that rounds of other sizes use the same program. Statistics and value baseline
    that the round itself uses stay as they were; what it teaches them is for the next one.

    A gradient is the mean of its episodes, so every episode of a worker's has the same weight as its gradients, up to a
    factor common to all that the weighted mean divides out.
    """
    schedule = cast(Rounds, parts.method.schedule)
    weights = jax.vmap(lambda number, counted: schedule.at(number).weigh(counted))(hyperparameters.schedule, counted)

    def block(number: Array, carry: tuple) -> tuple:
        sums, normalizer, estimator = carry
        tasks, places = tasks_of_block(parts, state, hyperparameters, counted, number)
        weight = jnp.where(places.counted, jnp.take_along_axis(weights, places.worker, axis=1), 0)
        work = work_of_block(parts, state, hyperparameters, tasks, places, weight)
        batch = work.batch
        lowest = jnp.minimum(sums.lowest, batch.lowest())
        sums = _added(sums, _sums_of(work, weight))._replace(lowest=lowest)
        if parts.policy.normalize:
            normalizer = jax.vmap(update_statistics)(normalizer, observation_statistics(batch, parts.axis))
        learnt = parts.estimator.learn(estimator, batch, state.normalizer, hyperparameters.estimator, parts.axis)
        return sums, normalizer, learnt

    start = (_nothing(parts, state), state.normalizer, state.estimator)
    return jax.lax.fori_loop(0, number_of_blocks(parts, counted, playable), block, start)


def _nothing(parts: Parts, state: TrainState) -> _Sums:
    zero, real = jnp.zeros_like(state.iteration), jnp.zeros(state.iteration.shape)
    none = count_steps(zero)
    return _Sums(*no_sums(parts, state), real, none, none, real, zero, state.lowest)


def _sums_of(work: Work, weight: Float[Array, "runs each"]) -> _Sums:
    def of_runs(x: Array) -> Array:
        return x.reshape(weight.shape).sum(1, dtype=x.dtype if x.dtype == jnp.float32 else jnp.int32)

    useful = of_runs(work.lengths)
    return _Sums(
        gradient=work.gradient,
        half=work.half,
        beside=work.beside,
        weight=weight.sum(1),
        env_steps=count_steps(useful),
        computed_steps=count_steps(shares(work.batch.computed_steps, useful)),
        returns=of_runs(work.batch.returns),
        diverged=of_runs(work.diverged),
        lowest=jnp.zeros_like(useful, jnp.float32),
    )


def _added(sums: _Sums, new: _Sums) -> _Sums:
    both = jax.tree.map(jnp.add, sums, new)
    return both._replace(
        env_steps=add_steps(sums.env_steps, new.env_steps),
        computed_steps=add_steps(sums.computed_steps, new.computed_steps),
    )
