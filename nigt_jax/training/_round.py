"""One round on one device, and many of them in a compiled chunk.

Logical workers are not devices. The clock decides how many gradients of each worker count; their episodes are packed
evenly over the devices whatever worker they belong to, and what the clock discards is never computed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import Round, SimulatedTime, play_round
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.methods import ask, tell
from nigt_jax.rollout import Normalizer, Trajectories, observe, of_workers, rollout
from nigt_jax.training._layout import LAYOUTS
from nigt_jax.training._spmd import AXIS
from nigt_jax.training._state import Parts, Settings, TrainState


class RoundMetrics(NamedTuple):
    """What a round reports, the same on every device; increments, which the host adds up without a limit.

    Where gradients are absorbed as they arrive, a round is one update.

    Attributes:
      gradients: counted.
      discarded: begun by a worker, but not counted.
      communications: exchanges of the size of the parameters.
      delay: updates made since the query point of the gradient; 0 where there are rounds.
      env_steps: of the counted episodes, up to their ends.
      time: simulated, at the end of the round.
      query_return_mean: mean undiscounted return of the round's episodes, played at the query point.
      gradient_norm: of the aggregated gradient.
      diverged: episodes that the physics ended with a number that is not finite.
      complete: whether the clock could decide the round; the rest means nothing where it could not.
    """

    gradients: Int[Array, ""]
    discarded: Int[Array, ""]
    communications: Int[Array, ""]
    delay: Int[Array, ""]
    env_steps: Int[Array, ""]
    time: SimulatedTime
    query_return_mean: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    diverged: Int[Array, ""]
    complete: Bool[Array, ""]


class _Sums(NamedTuple):
    """What a round adds up on this device, block of episodes by block."""

    gradient: Any  # like the parameters
    weight: Float[Array, ""]
    episodes: Int[Array, ""]
    env_steps: Int[Array, ""]
    returns: Float[Array, ""]
    diverged: Int[Array, ""]


def run_round(parts: Parts, settings: Settings, state: TrainState) -> tuple[TrainState, RoundMetrics]:
    """One round: clock, episodes, gradient, aggregation, update. Runs under the axis ``devices``."""
    batch_size = jnp.where(state.iteration == 0, settings.initial_batch_size, settings.batch_size)
    counted, clock = play_round(settings.clock, parts.method.rule(batch_size, settings.clock.workers), state.clock)

    sums, normalizer, estimator = _collect(parts, settings, state, counted)
    server, gradient_norm = tell(parts.method, state.server, settings.step, sums.gradient, sums.weight, AXIS)
    total = jax.lax.psum(sums._replace(gradient=()), AXIS)
    metrics = RoundMetrics(
        gradients=counted.counts.sum(dtype=jnp.int32),
        discarded=counted.discarded.sum(dtype=jnp.int32),
        communications=jnp.ones([], jnp.int32),
        delay=jnp.zeros([], jnp.int32),
        env_steps=total.env_steps,
        time=clock.now,
        query_return_mean=total.returns / total.episodes.astype(jnp.float32),
        gradient_norm=gradient_norm,
        diverged=total.diverged,
        complete=counted.complete,
    )
    return TrainState(state.iteration + 1, server, normalizer, estimator, clock, (), state.key), metrics


def run_chunk(
    parts: Parts, length: int, state: TrainState, settings: Settings, rounds: Int[Array, ""]
) -> tuple[TrainState, RoundMetrics]:
    """Up to `length` rounds in one call; only the first `rounds` are run, a traced number, so one program serves all.

    Args:
      parts: of the run.
      length: rows of the metrics returned.
      state: replicated.
      settings: replicated.
      rounds: at most `length`.

    Returns:
      The state after, and the metrics with a leading axis of `length`; rows from `rounds` on are zero.
    """
    skipped = jax.tree.map(
        lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(lambda s: run_round(parts, settings, s), state)[1]
    )

    def step(state: TrainState, number: Array) -> tuple[TrainState, RoundMetrics]:
        return jax.lax.cond(number < rounds, lambda s: run_round(parts, settings, s), lambda s: (s, skipped), state)

    return jax.lax.scan(step, state, jnp.arange(length))


def _collect(parts: Parts, settings: Settings, state: TrainState, counted: Round) -> tuple[_Sums, Normalizer, Any]:
    """The device's own share of the round's episodes, in blocks of `lanes`: sums, and what the next round will know.

    The number of blocks is traced, so that rounds of other sizes use the same program. Statistics and value baseline
    that the round itself uses stay as they were; what it teaches them is for the next one.

    A gradient is the mean of its episodes, so every episode of a worker's has the same weight as its gradients, up to a
    factor common to all that the weighted mean divides out.
    """
    query = ask(state.server)
    devices, me = jax.lax.axis_size(AXIS), jax.lax.axis_index(AXIS)
    lay_out, size = LAYOUTS[parts.layout]
    weights = parts.method.weigh(counted)
    across = parts.lanes * devices
    round_key = jax.random.fold_in(state.key, state.iteration)

    def block(number: Array, carry: tuple) -> tuple:
        sums, normalizer, estimator = carry
        place = number * across + me * parts.lanes + jnp.arange(parts.lanes)
        episode, worker, played, counts = lay_out(counted, parts.trajectories_per_gradient, place)
        batch = rollout(
            parts.environment,
            parts.policy,
            query.params,
            state.normalizer,
            jax.vmap(jax.random.fold_in, (None, 0))(round_key, episode),
            played,
            parts.horizon,
            of_workers(settings.variation, worker),
        ).only(counts)
        context = (batch, state.normalizer, settings.estimator, AXIS)
        factors = parts.estimator.coefficients(state.estimator, *context)
        weight = jnp.where(counts, weights[worker], 0)
        gradient = policy_gradient_sum(parts.policy, query.params, state.normalizer, batch, factors * weight[None, :])
        sums = jax.tree.map(jnp.add, sums, _sums_of(gradient, weight, batch))
        seen = observe(normalizer, batch.observation, batch.alive.astype(jnp.float32), AXIS)
        return sums, seen, parts.estimator.learn(estimator, *context)

    zero = jnp.zeros([], jnp.int32)
    nothing = _Sums(jax.tree.map(jnp.zeros_like, query.params), jnp.zeros([]), zero, zero, jnp.zeros([]), zero)
    blocks = (size(counted, parts.trajectories_per_gradient) + across - 1) // across
    return jax.lax.fori_loop(0, blocks, block, (nothing, state.normalizer, state.estimator))


def _sums_of(gradient: Any, weight: Float[Array, " lanes"], batch: Trajectories) -> _Sums:
    return _Sums(
        gradient=gradient,
        weight=weight.sum(),
        episodes=batch.alive[0].sum(dtype=jnp.int32),
        env_steps=batch.lengths().sum(dtype=jnp.int32),
        returns=batch.returns().sum(),
        diverged=batch.diverged.sum(dtype=jnp.int32),
    )
