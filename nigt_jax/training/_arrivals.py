"""Gradients that are absorbed one at a time, as they arrive, each computed at the snapshot that its worker was sent.

When gradients arrive is a matter of the clock alone, so the order of many is known before one of them is computed. Of
consecutive arrivals from distinct workers all snapshots were sent before the first of them: such a block is computed at
once, shared by the devices, and absorbed in order, to the numbers of one by one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import SimulatedTime, next_arrival
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.methods import ArrivalMethod, tell
from nigt_jax.rollout import Trajectories, observe, of_workers, rollout_each
from nigt_jax.training._round import RoundMetrics
from nigt_jax.training._spmd import AXIS
from nigt_jax.training._state import Parts, Sent, Settings, TrainState


class _Block(NamedTuple):
    """Arrivals in order; a leading axis of places, the last of which may be empty.

    Attributes:
      worker: whose gradient.
      taken: whether there is an arrival in this place.
      absorbed: whether it is not discarded for its delay.
      number: of the update that it makes, or the next one does if it is discarded.
      delay: updates made since its worker's query point.
      time: of the arrival.
    """

    worker: Int[Array, " places"]
    taken: Bool[Array, " places"]
    absorbed: Bool[Array, " places"]
    number: Int[Array, " places"]
    delay: Int[Array, " places"]
    time: SimulatedTime


class _Gradients(NamedTuple):
    """What workers deliver; a leading axis of places, and of episodes of a gradient where there is one."""

    gradient: Any
    episodes: Trajectories


def run_arrivals(
    parts: Parts, length: int, state: TrainState, settings: Settings, rounds: Int[Array, ""]
) -> tuple[TrainState, RoundMetrics]:
    """Up to `length` updates in one call; only the first `rounds` are made, a traced number.

    Args:
      parts: of the run.
      length: rows of the metrics returned.
      state: replicated.
      settings: replicated.
      rounds: at most `length`.

    Returns:
      The state after, and the metrics with a leading axis of `length`; rows from `rounds` on are zero.
    """
    first = state.iteration

    def step(carry: tuple) -> tuple:
        state, metrics, _ = carry
        block, clock, stuck = _schedule(parts, settings, state, first + rounds)
        delivered = _deliver(parts, settings, state, block)
        rows = jnp.where(block.taken, block.number - first, length)  # those of empty places are dropped
        metrics = _report(metrics, block, delivered.episodes, rows)
        state, norms = _absorb(parts, settings, state._replace(clock=clock), block, delivered)
        metrics = metrics._replace(gradient_norm=metrics.gradient_norm.at[rows].add(norms, mode="drop"))
        return state, metrics, stuck

    more = lambda carry: (carry[0].iteration < first + rounds) & ~carry[2]
    state, metrics, _ = jax.lax.while_loop(more, step, (state, _nothing(length), jnp.zeros([], bool)))
    return state, metrics


def _schedule(
    parts: Parts, settings: Settings, state: TrainState, last: Int[Array, ""]
) -> tuple[_Block, Any, Bool[Array, ""]]:
    """The next block: up to the first worker that comes a second time, or to update number `last`.

    Returns:
      The block, the clock after it, and whether nobody will ever deliver again.
    """
    assert isinstance(parts.method, ArrivalMethod)
    tolerated = parts.method.tolerates(settings.step)
    places = parts.lanes * jax.lax.axis_size(AXIS)

    def place(carry: tuple, _: None) -> tuple[tuple, _Block]:
        clock, seen, number, is_open = carry
        worker, answered, after = next_arrival(settings.clock, clock)
        delay = number - state.sent.at[worker]
        taken = is_open & answered & ~seen[worker] & (number < last)
        absorbed = taken & (delay < tolerated)
        clock = jax.tree.map(lambda new, old: _choose(taken, new, old), after, clock)
        carry = (clock, seen.at[worker].set(seen[worker] | taken), number + absorbed.astype(jnp.int32), taken)
        return carry, _Block(worker, taken, absorbed, number, delay, after.now)

    nobody = jnp.zeros(settings.clock.workers, bool)
    start = (state.clock, nobody, state.iteration, jnp.ones([], bool))
    (clock, *_), block = jax.lax.scan(place, start, length=places)
    return block, clock, ~block.taken[0]


def _deliver(parts: Parts, settings: Settings, state: TrainState, block: _Block) -> _Gradients:
    """The gradients of a block, each device computing its share of them."""
    me, each = jax.lax.axis_index(AXIS), parts.trajectories_per_gradient
    mine = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, me * parts.lanes, parts.lanes), block)
    sent: Sent = jax.tree.map(lambda x: x[mine.worker], state.sent)
    keys = jax.vmap(lambda n: jax.random.split(jax.random.fold_in(state.key, n), each))(mine.number)
    lanes = lambda tree: jax.tree.map(lambda x: jnp.repeat(x, each, axis=0), tree)
    episodes = rollout_each(
        parts.environment,
        parts.policy,
        lanes(sent.params),
        lanes(sent.normalizer),
        keys.reshape(-1),
        lanes(mine.absorbed),
        parts.horizon,
        of_workers(settings.variation, jnp.repeat(mine.worker, each)),
    )
    episodes = _by_gradient(episodes, each)

    def gradient(sent: Sent, episodes: Trajectories) -> Any:
        factors = parts.estimator.coefficients(sent.estimator, episodes, sent.normalizer, settings.estimator, None)
        return policy_gradient_sum(parts.policy, sent.params, sent.normalizer, episodes, factors)

    delivered = _Gradients(jax.vmap(gradient)(sent, episodes), episodes)
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), delivered)


def _by_gradient(episodes: Trajectories, each: int) -> Trajectories:
    """Episodes with a leading axis of gradients, before the time, and `each` of them in a gradient."""
    apart = lambda x: jnp.moveaxis(x.reshape(x.shape[0], -1, each, *x.shape[2:]), 1, 0)
    return Trajectories(
        observation=apart(episodes.observation),
        pre_tanh=apart(episodes.pre_tanh),
        reward=apart(episodes.reward),
        alive=apart(episodes.alive),
        diverged=episodes.diverged.reshape(-1, each),
    )


def _absorb(
    parts: Parts, settings: Settings, state: TrainState, block: _Block, delivered: _Gradients
) -> tuple[TrainState, Float[Array, " places"]]:
    """The state after the block, and the norms of its gradients."""

    def one(state: TrainState, arrival: tuple[_Block, _Gradients]) -> tuple[TrainState, Array]:
        (worker, taken, absorbed, *_), (gradient, episodes) = arrival
        weight = jnp.asarray(parts.trajectories_per_gradient, jnp.float32)
        server, norm = tell(parts.method, state.server, settings.step, gradient, weight, None)
        seen = observe(state.normalizer, episodes.observation, episodes.alive.astype(jnp.float32), None)
        used = jax.tree.map(lambda x: x[worker], state.sent.normalizer)
        learnt = parts.estimator.learn(state.estimator, episodes, used, settings.estimator, None)
        known = (state.server, state.normalizer, state.estimator)
        server, normalizer, estimator = jax.tree.map(
            lambda new, old: _choose(absorbed, new, old), (server, seen, learnt), known
        )
        iteration = state.iteration + absorbed.astype(jnp.int32)
        news = Sent(server.sent, normalizer, estimator, iteration)
        sent = jax.tree.map(lambda all, new: all.at[worker].set(_choose(taken, new, all[worker])), state.sent, news)
        after = TrainState(iteration, server, normalizer, estimator, state.clock, sent, state.key)
        return after, jnp.where(absorbed, norm, 0)

    return jax.lax.scan(one, state, (block, delivered))


def _report(metrics: RoundMetrics, block: _Block, episodes: Trajectories, rows: Int[Array, " places"]) -> RoundMetrics:
    """The metrics with a block's, all but the norms; what is discarded stands in the row of the update after it."""
    add = lambda column, values: column.at[rows].add(values, mode="drop")
    put = lambda column, values: column.at[jnp.where(block.absorbed, rows, column.size)].set(values, mode="drop")
    count = lambda mask: mask.astype(jnp.int32)
    return metrics._replace(
        gradients=add(metrics.gradients, count(block.absorbed)),
        discarded=add(metrics.discarded, count(block.taken & ~block.absorbed)),
        communications=add(metrics.communications, count(block.taken)),
        delay=put(metrics.delay, block.delay),
        env_steps=add(metrics.env_steps, episodes.alive.sum((1, 2), dtype=jnp.int32)),
        time=jax.tree.map(put, metrics.time, block.time),
        query_return_mean=put(metrics.query_return_mean, episodes.reward.sum(1).mean(1)),
        diverged=add(metrics.diverged, episodes.diverged.sum(1, dtype=jnp.int32)),
        complete=put(metrics.complete, block.absorbed),
    )


def _nothing(length: int) -> RoundMetrics:
    whole, real = jnp.zeros(length, jnp.int32), jnp.zeros(length)
    return RoundMetrics(
        gradients=whole,
        discarded=whole,
        communications=whole,
        delay=whole,
        env_steps=whole,
        time=SimulatedTime(real, real),
        query_return_mean=real,
        gradient_norm=real,
        diverged=whole,
        complete=jnp.zeros(length, bool),
    )


def _choose(condition: Bool[Array, ""], new: Array, old: Array) -> Array:
    return jnp.where(condition, new, old)
