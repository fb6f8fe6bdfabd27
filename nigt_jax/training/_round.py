"""One round on one device, and many of them in a compiled chunk; of one run, or of many side by side.

Logical workers are not devices. The clock decides how many gradients of each worker count; their episodes are packed
evenly over the devices whatever worker they belong to, and what the clock discards is never computed.

State, settings and metrics have a leading axis of runs. Runs know nothing of each other: they share lanes and programs.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import Round, SimulatedTime, play_round
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.methods import ask, tell
from nigt_jax.rollout import Normalizer, Tasks, Trajectories, observe, of_workers, rollout, see
from nigt_jax.training._layout import LAYOUTS, Places, can_be_numbered
from nigt_jax.training._parts import Parts
from nigt_jax.training._settings import Settings
from nigt_jax.training._spmd import least_over, place_on, sum_over
from nigt_jax.training._state import TrainState
from nigt_jax.training._steps import StepCount, add_steps, count_steps


class RoundMetrics(NamedTuple):
    """What a round reports, the same on every device; increments, which the host adds up without a limit.

    Where gradients are absorbed as they arrive, a round is one update.

    Attributes:
      gradients: counted.
      discarded: begun by a worker, but not counted.
      communications: exchanges of the size of the parameters.
      delay: updates made since the query point of the gradient; 0 where there are rounds.
      env_steps: of the counted episodes, up to their ends; a StepCount on a device, int64 on the host.
      computed_steps: likewise, that the lanes of all devices made for this round, idle ones included; a run's share of
        them where several share the lanes.
      time: simulated, at the end of the round.
      query_return_mean: mean undiscounted return of the round's episodes, played at the query point.
      gradient_norm: of the aggregated gradient.
      diverged: episodes that the physics ended with a number that is not finite.
      complete: whether the clock could decide the round; the rest means nothing where it could not.
      too_large: whether the round has more episodes than can be numbered; none was played, and the rest means nothing.
    """

    gradients: Int[Array, " runs"]
    discarded: Int[Array, " runs"]
    communications: Int[Array, " runs"]
    delay: Int[Array, " runs"]
    env_steps: Any
    computed_steps: Any
    time: SimulatedTime
    query_return_mean: Float[Array, " runs"]
    gradient_norm: Float[Array, " runs"]
    diverged: Int[Array, " runs"]
    complete: Bool[Array, " runs"]
    too_large: Bool[Array, " runs"]


class _Sums(NamedTuple):
    """What a round adds up on this device, block of episodes by block; leaves have a leading axis of runs."""

    gradient: Any  # like the parameters
    weight: Float[Array, " runs"]
    env_steps: StepCount
    computed_steps: StepCount
    returns: Float[Array, " runs"]
    diverged: Int[Array, " runs"]
    lowest: Float[Array, " runs"]


def run_round(parts: Parts, state: TrainState, settings: Settings) -> tuple[TrainState, RoundMetrics]:
    """One round: clock, episodes, gradient, aggregation, update. Runs under the axis ``parts.axis``.

    What the metrics say of episodes is this device's share: nothing in a round needs the sum.
    """
    counted, clock = count(parts, state, settings)
    fits = jax.vmap(functools.partial(can_be_numbered, parts.layout), (0, None))(
        counted, parts.trajectories_per_gradient
    )
    sums, normalizer, estimator = _collect(parts, state, settings, counted, counted.complete & fits)
    absorb = lambda server, step, gradient, weight: tell(parts.method, server, step, gradient, weight, parts.axis)
    server, gradient_norm = jax.vmap(absorb)(state.server, settings.step, sums.gradient, sums.weight)
    gradients = counted.counts.sum(1, dtype=jnp.int32)
    metrics = RoundMetrics(
        gradients=gradients,
        discarded=counted.discarded.sum(1, dtype=jnp.int32),
        communications=jnp.ones_like(state.iteration),
        delay=jnp.zeros_like(state.iteration),
        env_steps=sums.env_steps,
        computed_steps=sums.computed_steps,
        time=clock.now,
        query_return_mean=sums.returns / (gradients.astype(jnp.float32) * parts.trajectories_per_gradient),
        gradient_norm=gradient_norm,
        diverged=sums.diverged,
        complete=counted.complete,
        too_large=~fits,
    )
    lowest = least_over(parts.axis, sums.lowest)
    return TrainState(state.iteration + 1, server, normalizer, estimator, clock, lowest, (), state.key), metrics


@jax.named_scope("clock")
def count(parts: Parts, state: TrainState, settings: Settings) -> tuple[Round, Any]:
    """Who is counted in the next round of each run, and the clocks after it."""

    def of_one(settings: Settings, iteration: Array, clock: Any) -> tuple[Round, Any]:
        batch_size = jnp.where(iteration == 0, settings.initial_batch_size, settings.batch_size)
        return play_round(settings.clock, parts.method.rule(batch_size, settings.clock.workers), clock)

    return jax.vmap(of_one)(settings, state.iteration, state.clock)


def run_chunk(
    parts: Parts, length: int, state: TrainState, settings: Settings, rounds: Int[Array, ""]
) -> tuple[TrainState, RoundMetrics]:
    """Up to `length` rounds in one call; only the first `rounds` are run, a traced number, so one program serves all.

    Args:
      parts: of the run.
      length: rows of the metrics returned.
      state: of the runs.
      settings: of the runs.
      rounds: at most `length`.

    Returns:
      The state after, and the metrics with a leading axis of `length`; rows from `rounds` on are zero.
    """
    one = jax.jit(functools.partial(run_round, parts))  # traced once, for its shapes and for the loop
    shapes = jax.eval_shape(one, state, settings)[1]
    none = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

    def step(number: Array, carry: tuple[TrainState, RoundMetrics]) -> tuple[TrainState, RoundMetrics]:
        state, metrics = carry
        state, own = one(state, settings)
        return state, jax.tree.map(lambda rows, row: rows.at[number].set(row), metrics, own)

    # Not a scan that skips what is not asked for: XLA for CPU runs a branch of a conditional a quarter more slowly.
    state, metrics = jax.lax.fori_loop(0, rounds, step, (state, none))
    mine = {name: getattr(metrics, name) for name in ("env_steps", "computed_steps", "query_return_mean", "diverged")}
    return state, metrics._replace(**sum_over(parts.axis, mine))


def _collect(
    parts: Parts, state: TrainState, settings: Settings, counted: Round, playable: Bool[Array, " runs"]
) -> tuple[_Sums, Normalizer, Any]:
    """The device's own share of the round's episodes, in blocks: sums, and what the next round will know.

    The number of blocks is traced, so that rounds of other sizes use the same program. Statistics and value baseline
    that the round itself uses stay as they were; what it teaches them is for the next one.

    A gradient is the mean of its episodes, so every episode of a worker's has the same weight as its gradients, up to a
    factor common to all that the weighted mean divides out.
    """
    weights = jax.vmap(parts.method.weigh)(counted)

    def block(number: Array, carry: tuple) -> tuple:
        sums, normalizer, estimator = carry
        tasks, places = tasks_of_block(parts, state, settings, counted, number)
        batch = rollout(parts.environment, parts.policy, tasks, parts.horizon, parts.widths, parts.piece)
        batch = batch.only(places.counted.reshape(-1))
        context = (batch, state.normalizer, settings.estimator, parts.axis)
        factors = jax.named_scope("baseline")(parts.estimator.coefficients)(state.estimator, *context)
        weight = jnp.where(places.counted, jnp.take_along_axis(weights, places.worker, axis=1), 0)
        factors = factors * weight.reshape(1, -1)
        gradient = policy_gradient_sum(parts.policy, tasks.params, state.normalizer, batch, factors)
        lowest = jnp.minimum(sums.lowest, batch.lowest())
        sums = _added(sums, _sums_of(gradient, weight, batch))._replace(lowest=lowest)
        if parts.policy.normalize:
            normalizer = jax.vmap(observe)(normalizer, see(batch, parts.axis))
        return sums, normalizer, parts.estimator.learn(estimator, *context)

    zero, real = jnp.zeros_like(state.iteration), jnp.zeros(state.iteration.shape)
    none = count_steps(zero)
    nothing = _Sums(jax.tree.map(jnp.zeros_like, state.server.sent), real, none, none, real, zero, state.lowest)
    across = parts.episodes * place_on(parts.axis)[1]
    size = jax.vmap(LAYOUTS[parts.layout][1], (0, None))(counted, parts.trajectories_per_gradient)
    blocks = (jnp.where(playable, size, 0).max() + across - 1) // across
    return jax.lax.fori_loop(0, blocks, block, (nothing, state.normalizer, state.estimator))


def tasks_of_block(
    parts: Parts, state: TrainState, settings: Settings, counted: Round, number: Int[Array, ""]
) -> tuple[Tasks, Places]:
    """The device's own episodes of a round's block of that number, and what they are for: leaves [runs, episodes]."""
    (me, devices), each = place_on(parts.axis), parts.trajectories_per_gradient
    place = (number * devices + me) * parts.episodes + jnp.arange(parts.episodes)
    places = jax.vmap(LAYOUTS[parts.layout][0], (0, None, None))(counted, each, place)
    round_key = jax.vmap(jax.random.fold_in)(state.key, state.iteration)
    tasks = Tasks(
        keys=jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(round_key, places.episode).reshape(-1),
        active=places.played.reshape(-1),
        params=jax.vmap(ask)(state.server).params,
        normalizer=state.normalizer,
        variation=flat(jax.vmap(of_workers)(settings.variation, places.worker)),
        charge=settings.charge(state.lowest),
    )
    return tasks, places


def flat(tree: Any) -> Any:
    """Leaves with one axis of episodes, from leaves with one of runs and one of each run's episodes."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def shares(total: Int[Array, ""], of: Int[Array, "*parts"]) -> Int[Array, "*parts"]:
    """A number shared out in proportion, rounded; all of it where there is only one part."""
    if of.size == 1:
        return jnp.broadcast_to(total, of.shape)
    real = of.astype(jnp.float32)
    return jnp.round(total.astype(jnp.float32) * real / jnp.maximum(real.sum(), 1)).astype(jnp.int32)


def _sums_of(gradient: Any, weight: Float[Array, "runs each"], batch: Trajectories) -> _Sums:
    of_runs = lambda x: x.reshape(weight.shape).sum(1, dtype=x.dtype if x.dtype == jnp.float32 else jnp.int32)
    useful = of_runs(batch.lengths)
    return _Sums(
        gradient=gradient,
        weight=weight.sum(1),
        env_steps=count_steps(useful),
        computed_steps=count_steps(shares(batch.computed_steps, useful)),
        returns=of_runs(batch.returns),
        diverged=of_runs(batch.outcomes.diverged),
        lowest=jnp.zeros_like(useful, jnp.float32),
    )


def _added(sums: _Sums, new: _Sums) -> _Sums:
    both = jax.tree.map(jnp.add, sums, new)
    return both._replace(
        env_steps=add_steps(sums.env_steps, new.env_steps),
        computed_steps=add_steps(sums.computed_steps, new.computed_steps),
    )
