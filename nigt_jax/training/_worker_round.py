"""One round of a method whose workers have a state, or decide from data what they send; on one device.

Every device has some of the workers, whole: their episodes are played on it, and what they send is computed on it. The
server's state and the workers' are the same on all devices between rounds.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from nigt_jax.clocks import Round, exchange
from nigt_jax.collectives import gather_over, least_over, place_on, sum_over
from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import WorkerSide, ask
from nigt_jax.policies import update_statistics
from nigt_jax.rollout import Outcomes, Trajectories, observation_statistics
from nigt_jax.training._attacks import falsified_messages, falsified_rewards
from nigt_jax.training._block import next_round, play_block, shares, step_now, tasks_of_places
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._layout import Places
from nigt_jax.training._limits import Spent
from nigt_jax.training._metrics import RoundMetrics, messages
from nigt_jax.training._parts import Parts
from nigt_jax.training._server_side import Heard, absorb
from nigt_jax.training._state import TrainState, all_finite
from nigt_jax.training._steps import add_steps, count_steps

_ATTACKS = 0xFFFFFFFE  # folded into the key of a round, and not the number of any episode


def run_worker_round(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, spent: Spent, goes: Bool[Array, " runs"]
) -> tuple[TrainState, RoundMetrics]:
    """One round: clock, each worker's own episodes, its exchanges with the server, update.

    Arguments and metrics are those of :func:`nigt_jax.training.run_round`.
    """
    hyperparameters = hyperparameters._replace(step=step_now(state, hyperparameters, spent))
    counted, collected = next_round(parts, state, hyperparameters, goes)
    places = _places(parts, counted)
    batch = play_block(parts, tasks_of_places(state, hyperparameters, places)).only(places.counted.reshape(-1))
    runs, here = state.iteration.size, workers_here(parts, counted.counts.shape[1])[0].size
    outcomes = jax.tree.map(lambda x: x.reshape(runs, -1), batch.outcomes)
    episodes = places.counted.reshape(runs, here, -1).sum(2, dtype=jnp.int32)
    send = functools.partial(_exchange, parts, batch)
    heard, uploads, workers = jax.vmap(send)(state, hyperparameters, outcomes, episodes)
    absorbed = absorb(parts, state, hyperparameters, counted, heard)
    clock = jax.vmap(exchange)(hyperparameters.clock, collected, uploads, absorbed.time)
    normalizer = state.normalizer
    if parts.policy.normalize:
        normalizer = jax.vmap(update_statistics)(normalizer, observation_statistics(batch, parts.axis))
    estimator = parts.estimator.learn(state.estimator, batch, state.normalizer, hyperparameters.estimator, parts.axis)
    useful = batch.lengths.reshape(places.episode.shape).sum(1, dtype=jnp.int32)
    gradients = counted.counts.sum(1, dtype=jnp.int32)
    metrics = RoundMetrics(
        made=jnp.ones_like(counted.complete),
        gradients=gradients,
        episodes=gradients * parts.trajectories_per_gradient + absorbed.episodes,
        discarded=counted.discarded.sum(1, dtype=jnp.int32),
        communications=jnp.full_like(state.iteration, uploads.shape[1]),
        **messages(hyperparameters.clock, uploads),
        delay=jnp.zeros_like(state.iteration),
        env_steps=add_steps(count_steps(useful), absorbed.env_steps),
        computed_steps=add_steps(count_steps(shares(batch.computed_steps, useful)), absorbed.computed_steps),
        time=clock.now,
        query_return_mean=batch.returns.reshape(places.episode.shape).sum(1)
        / (gradients.astype(jnp.float32) * parts.trajectories_per_gradient),
        gradient_norm=absorbed.gradient_norm,
        diverged=batch.outcomes.diverged.reshape(places.episode.shape).sum(1, dtype=jnp.int32) + absorbed.diverged,
        complete=counted.complete,
        too_large=jnp.zeros_like(counted.complete),
        finite=jax.vmap(all_finite)(absorbed.server, normalizer, estimator, workers),
    )
    after = state._replace(
        iteration=state.iteration + 1,
        server=absorbed.server,
        normalizer=normalizer,
        estimator=estimator,
        clock=clock,
        lowest=least_over(parts.axis, jnp.minimum(absorbed.lowest, batch.lowest())),
        workers=workers,
    )
    return after, metrics


def workers_here(parts: Parts, workers: int) -> tuple[Int[Array, " here"], Bool[Array, " here"]]:
    """The device's share of the workers: their numbers from 0, and which of these there are."""
    me, devices = place_on(parts.axis)
    here = -(-workers // devices)
    number = me * here + jnp.arange(here)
    return jnp.minimum(number, workers - 1), number < workers


def _places(parts: Parts, counted: Round) -> Places:
    """Places of this device's workers: as many slots for each, of which a round may leave some empty."""
    worker, there = workers_here(parts, counted.counts.shape[1])
    slots = parts.episodes // worker.size
    slot = jnp.tile(jnp.arange(slots), worker.size)
    own, exists = jnp.repeat(worker, slots), jnp.repeat(there, slots)

    def of_run(counts: Int[Array, " workers"]) -> Places:
        episodes = counts * parts.trajectories_per_gradient
        before = jnp.cumsum(episodes) - episodes
        played = exists & (slot < episodes[own])
        return Places(before[own] + slot, own, played, played)

    return jax.vmap(of_run)(counted.counts)


def _exchange(
    parts: Parts,
    batch: Trajectories,
    state: TrainState,
    hyperparameters: Hyperparameters,
    outcomes: Outcomes,
    episodes: Int[Array, " here"],
) -> tuple[Heard, Bool[Array, "exchanges workers"], Any]:
    """What one run's workers on this device send.

    Args:
      parts: the run's parts.
      batch: the record of all episodes that this device has played.
      state: the run's state.
      hyperparameters: the run's hyperparameters.
      outcomes: the run's episodes, worker by worker, as many slots for each.
      episodes: number of episodes of each worker.

    Returns:
      What the server gets; who uploads in each exchange, and what workers keep, of the workers of all devices.
    """
    workers = hyperparameters.clock.workers
    worker, there = workers_here(parts, workers)
    work = _work_units(parts, batch, state, hyperparameters, outcomes, episodes)
    kept = jax.tree.map(lambda x: x[worker], state.workers)
    side = cast(WorkerSide, parts.method.worker)
    told, uploads = side.told(state.server), []
    for number, contribute in enumerate(side.exchanges(hyperparameters.step), start=1):
        sent, kept = contribute(kept, work, told, hyperparameters.step)
        sends, message = sent.uploads & there, sent.message
        if (attacks := hyperparameters.attacks) is not None:
            key = _key_of_attacks(state, number)
            message = falsified_messages(attacks, key, message, sends, worker, parts.axis)
        total = _sum_of(message, sends)
        told = jax.tree.map(lambda x: x / workers, sum_over(parts.axis, total))
        uploads.append(gather_over(parts.axis, sends, axis=0)[:workers])
    last = side.beside(hyperparameters.step)
    beside = {} if last is None else _sum_of(last(work, told, hyperparameters.step), there)
    everyone = jax.tree.map(lambda x: x[:workers], gather_over(parts.axis, kept, axis=0))
    weight = there.sum(dtype=jnp.float32)
    if parts.method.combine is not None:
        gradients = jnp.where(sends, episodes // parts.trajectories_per_gradient, 0)
        total, weight = _combined(parts, hyperparameters, message, gradients), jnp.ones([])
    return Heard(total, beside, weight), jnp.stack(uploads), everyone


def _combined(parts: Parts, hyperparameters: Hyperparameters, message: Any, gradients: Int[Array, " here"]) -> Any:
    """What the method's rule makes of the workers' means, on every device."""
    axes = ("workers",) if parts.axis is None else (parts.axis, "workers")
    rule = cast(Callable, parts.method.combine)(hyperparameters.step, axes)

    def of_worker(mean: Any, count: Array) -> Any:
        total = jax.tree.map(lambda x: x * count, mean)
        return rule.update(total, rule.init(total), count=count)[0]

    everywhere = jax.vmap(of_worker, axis_name="workers")(message, gradients.astype(jnp.float32))
    return jax.tree.map(lambda x: x[0], everywhere)


def _key_of_attacks(state: TrainState, number: int) -> PRNGKeyArray:
    """Of this round's rewards, 0, or of an exchange, from 1; the same on every device."""
    of_round = jax.random.fold_in(jax.random.fold_in(state.key, state.iteration), jnp.uint32(_ATTACKS))
    return jax.random.fold_in(of_round, number)


def _work_units(
    parts: Parts,
    batch: Trajectories,
    state: TrainState,
    hyperparameters: Hyperparameters,
    outcomes: Outcomes,
    episodes: Int[Array, " here"],
) -> WorkUnits:
    """One run's episodes as those of its workers here: a baseline knows the episodes of one worker alone."""
    here = episodes.size

    def of_each(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (here, *x.shape)), tree)

    charge = of_each(hyperparameters.charge(state.lowest))
    own = dataclasses.replace(batch, groups=here, outcomes=outcomes, charge=charge)
    if hyperparameters.attacks is not None:
        worker = workers_here(parts, hyperparameters.clock.workers)[0]
        own = falsified_rewards(hyperparameters.attacks, _key_of_attacks(state, 0), own, worker)
    params, normalizer, estimator = of_each((ask(state.server).params, state.normalizer, state.estimator))
    coefficients = parts.estimator.coefficients(estimator, own, normalizer, of_each(hyperparameters.estimator), None)
    return WorkUnits(parts.policy, params, normalizer, own, coefficients, episodes)


def _sum_of(message: Any, sends: Bool[Array, " here"]) -> Any:
    """The sum of what is sent."""

    def total(x: Array) -> Array:
        return jnp.where(sends.reshape(-1, *[1] * (x.ndim - 1)), x, 0).sum(0)

    return jax.tree.map(total, message)
