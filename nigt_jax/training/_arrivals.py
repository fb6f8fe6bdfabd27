"""Gradients that are absorbed one at a time, as they arrive, each computed at the snapshot that its worker was sent.

When gradients arrive is a matter of the clock alone, so the order of many is known before one of them is computed. Of
consecutive arrivals from distinct workers all snapshots were sent before the first of them: such a block is computed at
once, shared by the devices, and absorbed in order, to the numbers of one by one.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import SimulatedTime, is_accepted, next_arrival
from nigt_jax.collectives import gather_over, place_on
from nigt_jax.environments import of_workers
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.methods import tell
from nigt_jax.policies import ObservationStatistics, update_statistics
from nigt_jax.rollout import Outcomes, Tasks, Trajectories, observation_statistics
from nigt_jax.training._block import flat, play_block, shares
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._limits import Limits, Spent, is_late, progress
from nigt_jax.training._metrics import RoundMetrics, no_metrics
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import Sent, TrainState
from nigt_jax.training._steps import add_steps, at_least, count_steps, steps_left


class _Block(NamedTuple):
    """Arrivals in order; a leading axis of places, the last of which may be empty.

    Attributes:
      worker: number of the worker whose gradient it is.
      taken: whether there is an arrival in this place.
      absorbed: whether it is not discarded for its delay.
      number: number of the update that it makes, or that the next one makes if it is discarded.
      delay: updates made since its worker's query point.
      time: time of the arrival.
      before: time of the arrival before it.
    """

    worker: Int[Array, " places"]
    taken: Bool[Array, " places"]
    absorbed: Bool[Array, " places"]
    number: Int[Array, " places"]
    delay: Int[Array, " places"]
    time: SimulatedTime
    before: SimulatedTime


class _Delivered(NamedTuple):
    """What workers deliver, in the order of places.

    Attributes:
      gradient: each gradient, a tree like the parameters.
      statistics: statistics of each one's observations.
      outcomes: how its episodes went, leaves [places, trajectories per gradient].
      lowest: reward of a step in them.
      computed_steps: its share of those that the lanes made for all of them.
    """

    gradient: Any
    statistics: ObservationStatistics
    outcomes: Outcomes
    lowest: Float[Array, " places"]
    computed_steps: Int[Array, " places"]


def run_arrivals(
    parts: Parts, length: int, state: TrainState, hyperparameters: Hyperparameters, limits: Limits, spent: Spent
) -> tuple[TrainState, RoundMetrics]:
    """Up to `length` updates of each run in one call; how many of them is traced.

    Args:
      parts: the run's parts.
      length: rows of the metrics returned.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      limits: where each run stops; it makes at least one update, unless it rests, and at most `length`.
      spent: what the runs have used before.

    Returns:
      The state after, and the metrics with a leading axis of `length`; rows of updates that were not made are zero.
    """
    first, runs = state.iteration, state.iteration.size
    # An update is a gradient, so both limits are one.
    last = first + jnp.minimum(limits.rounds, jnp.maximum(1, steps_left(limits.gradients, spent.gradients)))
    last = jnp.where(limits.rounds > 0, last, first)

    def step(carry: tuple) -> tuple:
        state, metrics, spent, goes, waits = carry
        schedule = functools.partial(_schedule, parts)
        until = _Until(
            last=jnp.where(goes, last, state.iteration),
            time=limits.time,
            env_steps=steps_left(limits.env_steps, spent.env_steps),
        )
        block, clock, nobody = jax.vmap(schedule)(state, hyperparameters, until)
        delivered, episodes = _deliver(parts, state, hyperparameters, block)
        rows = jnp.where(block.taken, block.number - first[:, None], length)  # those of empty places are dropped
        metrics = jax.vmap(_report)(metrics, block, delivered, rows)
        absorb = functools.partial(_absorb, parts, episodes)
        state, spent, norms = jax.vmap(absorb)(state._replace(clock=clock), spent, hyperparameters, block, delivered)
        add = jax.vmap(lambda column, row, norm: column.at[row].add(norm, mode="drop"))
        metrics = metrics._replace(gradient_norm=add(metrics.gradient_norm, rows, norms))
        ends = jax.vmap(_ends)(block, limits.time) | at_least(spent.env_steps, limits.env_steps) & block.absorbed.any(1)
        goes &= (state.iteration < last) & ~nobody & ~ends
        return state, metrics, spent, goes, waits | nobody

    start = (state, no_metrics(runs, length), spent, limits.rounds > 0, jnp.zeros(runs, bool))
    state, metrics, _, _, waits = jax.lax.while_loop(lambda carry: carry[3].any(), step, start)
    many = state.iteration - first + waits.astype(jnp.int32)  # with the one that never comes
    made = many[:, None] > jnp.arange(length)[None, :]
    return state, jax.tree.map(lambda column: jnp.moveaxis(column, 1, 0), metrics._replace(made=made))


class _Until(NamedTuple):
    """Where one run's block ends.

    Attributes:
      last: number of the last update of this call.
      time: no arrival follows an update from then on.
      env_steps: nor one that may have used as many.
    """

    last: Int[Array, ""]
    time: SimulatedTime
    env_steps: Int[Array, ""]


def _ends(block: _Block, time: SimulatedTime) -> Bool[Array, ""]:
    """Whether an update of the block is at that time or later."""
    return (block.absorbed & is_late(block.time, time)).any()


def _schedule(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, until: _Until
) -> tuple[_Block, Any, Bool[Array, ""]]:
    """One run's next block: up to the first worker that comes a second time, or to where it has to end.

    Returns:
      The block, the clock after it, and whether nobody will ever deliver again.
    """
    places = _places(parts) * place_on(parts.axis)[1]
    most_steps = parts.trajectories_per_gradient * parts.horizon

    def place(carry: tuple, _: None) -> tuple[tuple, _Block]:
        clock, seen, number, is_open = carry
        worker, answered, after = next_arrival(hyperparameters.clock, clock)
        delay, used = number - state.sent.at[worker], (number - state.iteration) * most_steps
        affordable = (used < until.env_steps) | (number == state.iteration)
        taken = is_open & answered & ~seen[worker] & (number < until.last) & affordable
        absorbed = taken & is_accepted(delay, hyperparameters.step.max_delay)
        is_open = taken & ~(absorbed & is_late(after.now, until.time))
        block = _Block(worker, taken, absorbed, number, delay, after.now, clock.now)
        clock = jax.tree.map(lambda new, old: _choose(taken, new, old), after, clock)
        carry = (clock, seen.at[worker].set(seen[worker] | taken), number + absorbed.astype(jnp.int32), is_open)
        return carry, block

    nobody = jnp.zeros(hyperparameters.clock.workers, bool)
    start = (state.clock, nobody, state.iteration, jnp.ones([], bool))
    (clock, *_), block = jax.lax.scan(place, start, length=places)
    return block, clock, ~block.taken[0] & (state.iteration < until.last)


def _places(parts: Parts) -> int:
    """Gradients that one device computes at once, of each run."""
    return parts.episodes // parts.trajectories_per_gradient


def _deliver(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, block: _Block
) -> tuple[_Delivered, Trajectories]:
    """The gradients of the runs' blocks, each device computing its share of them, and all the episodes.

    Every gradient is a group of its own, with the parameters that its worker was sent.
    """
    runs = hyperparameters.batch_size.size
    (me, _), each, places = place_on(parts.axis), parts.trajectories_per_gradient, _places(parts)
    mine = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, me * places, places, axis=1), block)
    sent: Sent = flat(jax.vmap(lambda sent, worker: jax.tree.map(lambda x: x[worker], sent))(state.sent, mine.worker))
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(state.key, mine.number).reshape(-1)

    def for_each_episode(x: Array) -> Array:
        return jnp.repeat(x, each, axis=1)

    tasks = Tasks(
        keys=jax.vmap(lambda key: jax.random.split(key, each))(keys).reshape(-1),
        active=for_each_episode(mine.absorbed).reshape(-1),
        params=sent.params,
        normalizer=sent.normalizer,
        variation=flat(jax.vmap(of_workers)(hyperparameters.variation, for_each_episode(mine.worker))),
        charge=flat(
            jax.vmap(Hyperparameters.charge)(hyperparameters, state.sent.lowest[jnp.arange(runs)[:, None], mine.worker])
        ),
    )
    batch = play_block(parts, tasks)
    tuned = jax.tree.map(lambda x: jnp.repeat(x, places), hyperparameters.estimator)
    factors = parts.estimator.coefficients(sent.estimator, batch, sent.normalizer, tuned, None)
    lane = batch.outcomes.lane + me * parts.num_lanes[0]  # numbered over all devices
    delivered = _Delivered(
        gradient=policy_gradient_sum(parts.policy, sent.params, sent.normalizer, batch, factors),
        statistics=observation_statistics(batch, None),
        outcomes=jax.tree.map(lambda x: x.reshape(-1, each), batch.outcomes._replace(lane=lane)),
        lowest=batch.lowest(),
        computed_steps=shares(batch.computed_steps, batch.lengths.reshape(-1, each).sum(1)),
    )
    by_run = jax.tree.map(lambda x: x.reshape(runs, places, *x.shape[1:]), delivered)
    return gather_over(parts.axis, by_run, axis=1), _gathered_record(parts.axis, batch)


def _gathered_record(axis: str | None, batch: Trajectories) -> Trajectories:
    """The episodes of all devices, lanes side by side; of the outcomes those of this device."""
    record = (batch.observation, batch.sample, batch.reward)
    observation, sample, reward = gather_over(axis, record, axis=1)
    return dataclasses.replace(batch, observation=observation, sample=sample, reward=reward)


def _absorb(
    parts: Parts,
    episodes: Trajectories,
    state: TrainState,
    spent: Spent,
    hyperparameters: Hyperparameters,
    block: _Block,
    delivered: _Delivered,
) -> tuple[TrainState, Spent, Float[Array, " places"]]:
    """One run's state after the block, what it has used by then, and the norms of its gradients."""

    def grouped(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[None], tree)

    def one(carry: tuple[TrainState, Spent], arrival: tuple[_Block, _Delivered]) -> tuple[tuple, Array]:
        state, spent = carry
        (worker, taken, absorbed, *_, before), (gradient, statistics, outcomes, lowest, _) = arrival
        weight = jnp.asarray(parts.trajectories_per_gradient, jnp.float32)
        step = hyperparameters.step.at(progress(spent, state.iteration, before))
        server, norm = tell(parts.method, state.server, step, gradient, weight, None)
        normalizer = update_statistics(state.normalizer, statistics) if parts.policy.normalize else state.normalizer
        used = jax.tree.map(lambda x: x[worker], state.sent.normalizer)
        charge = hyperparameters.charge(state.sent.lowest[worker])
        own = dataclasses.replace(episodes, groups=1, outcomes=outcomes, charge=charge[None])
        learnt = parts.estimator.learn(
            grouped(state.estimator), own, grouped(used), grouped(hyperparameters.estimator), None
        )
        known = (state.server, state.normalizer, state.estimator, state.lowest)
        server, normalizer, estimator, lowest = jax.tree.map(
            lambda new, old: _choose(absorbed, new, old),
            (server, normalizer, jax.tree.map(lambda x: x[0], learnt), jnp.minimum(state.lowest, lowest)),
            known,
        )
        iteration = state.iteration + absorbed.astype(jnp.int32)
        news = Sent(server.sent, normalizer, estimator, lowest, iteration)
        sent = jax.tree.map(lambda all, new: all.at[worker].set(_choose(taken, new, all[worker])), state.sent, news)
        after = state._replace(
            iteration=iteration, server=server, normalizer=normalizer, estimator=estimator, lowest=lowest, sent=sent
        )
        steps = jnp.where(absorbed, outcomes.lengths.sum(dtype=jnp.int32), 0)
        spent = Spent(
            add_steps(spent.gradients, count_steps(absorbed.astype(jnp.int32))),
            add_steps(spent.env_steps, count_steps(steps)),
        )
        return (after, spent), jnp.where(absorbed, norm, 0)

    (state, spent), norms = jax.lax.scan(one, (state, spent), (block, delivered))
    return state, spent, norms


def _report(metrics: RoundMetrics, block: _Block, delivered: _Delivered, rows: Int[Array, " places"]) -> RoundMetrics:
    """A run's metrics with a block's, all but the norms; what is discarded stands in the row of the update after it."""
    add = lambda column, values: column.at[rows].add(values, mode="drop")
    put = lambda column, values: column.at[jnp.where(block.absorbed, rows, column.size)].set(values, mode="drop")
    outcomes, taken, absorbed = delivered.outcomes, block.taken.astype(jnp.int32), block.absorbed.astype(jnp.int32)
    return metrics._replace(
        gradients=add(metrics.gradients, absorbed),
        discarded=add(metrics.discarded, taken - absorbed),
        communications=add(metrics.communications, taken),
        uploads=add(metrics.uploads, taken),
        downloads=add(metrics.downloads, taken),
        delay=put(metrics.delay, block.delay),
        env_steps=jax.tree.map(add, metrics.env_steps, count_steps(outcomes.lengths.sum(1, dtype=jnp.int32))),
        computed_steps=jax.tree.map(add, metrics.computed_steps, count_steps(delivered.computed_steps)),
        time=jax.tree.map(put, metrics.time, block.time),
        query_return_mean=put(metrics.query_return_mean, outcomes.returns.mean(1)),
        diverged=add(metrics.diverged, outcomes.diverged.sum(1, dtype=jnp.int32)),
        complete=put(metrics.complete, block.absorbed),
    )


def _choose(condition: Bool[Array, ""], new: Array, old: Array) -> Array:
    return jnp.where(condition, new, old)
