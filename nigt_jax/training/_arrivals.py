"""Gradients that are absorbed one at a time, as they arrive, each computed at the snapshot that its worker was sent.

Blocks of arrivals from distinct workers are computed at once, shared by the devices, and absorbed in order, to the
numbers of one by one.
"""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.methods import Arrivals, tell
from nigt_jax.policies import update_statistics
from nigt_jax.rollout import Trajectories
from nigt_jax.training._arrival_block import Block, Until, ends_with_update, next_block
from nigt_jax.training._deliveries import Delivered, deliver
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._limits import Limits, Spent, progress
from nigt_jax.training._metrics import RoundMetrics, no_metrics
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import Sent, TrainState, all_finite
from nigt_jax.training._steps import add_steps, at_least, count_steps, steps_left


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
    last = first + limits.rounds

    def step(carry: tuple) -> tuple:
        state, metrics, spent, goes, waits = carry
        until = Until(
            last=jnp.where(goes, last, state.iteration),
            time=limits.time,
            gradients=steps_left(limits.gradients, spent.gradients),
            env_steps=steps_left(limits.env_steps, spent.env_steps),
        )
        block, after, nobody = jax.vmap(functools.partial(next_block, parts))(state, hyperparameters, until)
        delivered, episodes = deliver(parts, state, hyperparameters, block)
        rows = jnp.where(block.taken, block.number - first[:, None], length)  # those of empty places are dropped
        report = functools.partial(_report, each=parts.trajectories_per_gradient)
        metrics = jax.vmap(report)(metrics, block, delivered, rows)
        absorb = functools.partial(_absorb, parts, episodes)
        state, spent, norms, finite = jax.vmap(absorb)(after, spent, hyperparameters, block, delivered)
        add = jax.vmap(lambda column, row, norm: column.at[row].add(norm, mode="drop"))
        put = jax.vmap(lambda column, row, value: column.at[row].set(value, mode="drop"))
        made = jnp.where(block.updates, rows, length)
        metrics = metrics._replace(
            gradient_norm=add(metrics.gradient_norm, rows, norms), finite=put(metrics.finite, made, finite)
        )
        used_up = at_least(spent.env_steps, limits.env_steps) & jax.vmap(ends_with_update)(block)
        ends = block.last.any(1) | used_up
        goes &= (state.iteration < last) & ~nobody & ~ends
        return state, metrics, spent, goes, waits | nobody

    start = (state, no_metrics(runs, length), spent, limits.rounds > 0, jnp.zeros(runs, bool))
    state, metrics, _, _, waits = jax.lax.while_loop(lambda carry: carry[3].any(), step, start)
    many = state.iteration - first + waits.astype(jnp.int32)  # with the one that never comes
    returns = metrics.query_return_mean / jnp.maximum(metrics.gradients, 1).astype(jnp.float32)
    made = many[:, None] > jnp.arange(length)[None, :]
    metrics = metrics._replace(made=made, query_return_mean=returns)
    return state, jax.tree.map(lambda column: jnp.moveaxis(column, 1, 0), metrics)


def _absorb(
    parts: Parts,
    episodes: Trajectories,
    state: TrainState,
    spent: Spent,
    hyperparameters: Hyperparameters,
    block: Block,
    delivered: Delivered,
) -> tuple[TrainState, Spent, Float[Array, " places"], Bool[Array, " places"]]:
    """One run's state after the block, what it has used by then, and of its updates the norm of the direction, and
    whether what they have left is finite.
    """

    def grouped(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[None], tree)

    collected = cast(Arrivals, parts.method.schedule).table

    def one(carry: tuple[TrainState, Spent], arrival: tuple[Block, Delivered]) -> tuple[tuple, tuple]:
        state, spent = carry
        of, (gradient, statistics, outcomes, lowest, _) = arrival
        worker = of.worker
        weight = jnp.asarray(parts.trajectories_per_gradient, jnp.float32)
        step = hyperparameters.step.at(progress(spent, state.iteration, of.before))
        table, total = collected.put(state.table, of.entry, worker, gradient, of.absorbed)
        server, norm = tell(parts.method, state.server, step, total, weight, None)
        normalizer = update_statistics(state.normalizer, statistics) if parts.policy.normalize else state.normalizer
        used = jax.tree.map(lambda x: x[worker], state.sent.normalizer)
        charge = hyperparameters.charge(state.sent.lowest[worker])
        own = dataclasses.replace(episodes, groups=1, outcomes=outcomes, charge=charge[None])
        learnt = parts.estimator.learn(
            grouped(state.estimator), own, grouped(used), grouped(hyperparameters.estimator), None
        )
        server = jax.tree.map(functools.partial(_choose, of.updates), server, state.server)
        normalizer, estimator, lowest = jax.tree.map(
            functools.partial(_choose, of.absorbed),
            (normalizer, jax.tree.map(lambda x: x[0], learnt), jnp.minimum(state.lowest, lowest)),
            (state.normalizer, state.estimator, state.lowest),
        )
        iteration = state.iteration + of.updates.astype(jnp.int32)
        news = Sent(server.sent, normalizer, estimator, lowest, iteration)
        sent = jax.tree.map(lambda all, new: all.at[worker].set(_choose(of.taken, new, all[worker])), state.sent, news)
        after = state._replace(
            iteration=iteration,
            server=server,
            table=table,
            normalizer=normalizer,
            estimator=estimator,
            lowest=lowest,
            sent=sent,
        )
        steps = jnp.where(of.absorbed, outcomes.lengths.sum(dtype=jnp.int32), 0)
        spent = Spent(
            add_steps(spent.gradients, count_steps(of.absorbed.astype(jnp.int32))),
            add_steps(spent.env_steps, count_steps(steps)),
        )
        return (after, spent), (jnp.where(of.updates, norm, 0), all_finite(server, normalizer, estimator))

    (state, spent), (norms, finite) = jax.lax.scan(one, (state, spent), (block, delivered))
    return state, spent, norms, finite


def _report(
    metrics: RoundMetrics, block: Block, delivered: Delivered, rows: Int[Array, " places"], each: int
) -> RoundMetrics:
    """A run's metrics with a block's, all but the norms; what makes no update stands in the row of the one after it.

    Returns are added up.
    """
    add = lambda column, values: column.at[rows].add(values, mode="drop")
    put = lambda column, values: column.at[jnp.where(block.updates, rows, column.size)].set(values, mode="drop")
    outcomes, taken, absorbed = delivered.outcomes, block.taken.astype(jnp.int32), block.absorbed.astype(jnp.int32)
    return metrics._replace(
        gradients=add(metrics.gradients, absorbed),
        episodes=add(metrics.episodes, each * absorbed),
        discarded=add(metrics.discarded, taken - absorbed),
        communications=add(metrics.communications, taken),
        uploads=add(metrics.uploads, taken),
        downloads=add(metrics.downloads, taken),
        delay=put(metrics.delay, block.delay),
        env_steps=jax.tree.map(add, metrics.env_steps, count_steps(outcomes.lengths.sum(1, dtype=jnp.int32))),
        computed_steps=jax.tree.map(add, metrics.computed_steps, count_steps(delivered.computed_steps)),
        time=jax.tree.map(put, metrics.time, block.time),
        query_return_mean=add(metrics.query_return_mean, jnp.where(block.absorbed, outcomes.returns.mean(1), 0)),
        diverged=add(metrics.diverged, outcomes.diverged.sum(1, dtype=jnp.int32)),
        complete=put(metrics.complete, block.updates),
    )


def _choose(condition: Bool[Array, ""], new: Array, old: Array) -> Array:
    return jnp.where(condition, new, old)
