"""What a server does with a round: one step along what it has heard, or several with episodes of its own.

Devices share the episodes of each of its steps, and agree on everything else: the number of steps is drawn from the
key of the round.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from nigt_jax.clocks import Round, SimulatedTime, time_of
from nigt_jax.collectives import place_on, sum_over
from nigt_jax.environments import of_workers
from nigt_jax.estimators import importance_weights, policy_gradient_sum
from nigt_jax.methods import ServerPlan, ServerSide, ServerState, ask, tell
from nigt_jax.rollout import Tasks, Trajectories
from nigt_jax.training._block import factors_of_block, flat, only_runs, play_block, shares
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import TrainState
from nigt_jax.training._steps import StepCount, add_steps, count_steps
from nigt_jax.transforms import tree_norm

_OWN = 0xFFFFFFFD  # folded into the key of a round, and not the number of any episode


class Heard(NamedTuple):
    """What came of a round's messages; leaves have a leading axis of runs.

    Attributes:
      total: this device's sum of them, a tree like the parameters.
      beside: sums of what was sent after that, by name.
      weight: the sum of their weights.
    """

    total: Any
    beside: dict[str, Any]
    weight: Float[Array, " runs"]


class Absorbed(NamedTuple):
    """What the server made of a round; leaves have a leading axis of runs. Steps are this device's share.

    Attributes:
      server: the server after it.
      gradient_norm: norm of the direction that it has absorbed; of the first one, where there were several.
      time: what its own episodes took, one after the other; None of a server that never has any.
      episodes: how many these were.
      diverged: those of this device's share that broke the physics.
      env_steps: steps of its own episodes, up to their ends.
      computed_steps: steps that the lanes made for them.
      lowest: the lowest reward of a step that is known now.
    """

    server: ServerState
    gradient_norm: Float[Array, " runs"]
    time: SimulatedTime | None
    episodes: Int[Array, " runs"]
    diverged: Int[Array, " runs"]
    env_steps: StepCount
    computed_steps: StepCount
    lowest: Float[Array, " runs"]


class _Steps(NamedTuple):
    """The server's own steps under way: who goes on, how many were made, and what they brought."""

    goes: Bool[Array, " runs"]
    made: Int[Array, " runs"]
    server: ServerState
    diverged: Int[Array, " runs"]
    env_steps: StepCount
    computed_steps: StepCount
    lowest: Float[Array, " runs"]


def absorb(parts: Parts, state: TrainState, hyperparameters: Hyperparameters, counted: Round, heard: Heard) -> Absorbed:
    """The server after a round.

    Args:
      parts: the run's parts.
      state: the runs' state when the round began.
      hyperparameters: the runs' hyperparameters, of this update.
      counted: the round; a run of which nothing is counted has none.
      heard: what came of the messages.
    """
    zero = jnp.zeros_like(state.iteration)
    nothing = count_steps(zero)
    if parts.method.server is None:

        def step(server: ServerState, own: Any, heard: Heard) -> tuple:
            return tell(parts.method, server, own, heard.total, heard.weight, parts.axis, **heard.beside)

        server, norm = jax.vmap(step)(state.server, hyperparameters.step, heard)
        return Absorbed(server, norm, None, zero, zero, nothing, nothing, state.lowest)

    def mean(total: Array) -> Array:
        return total / weight.reshape(-1, *[1] * (total.ndim - 1))

    total, weight = sum_over(parts.axis, (heard.total, heard.weight))
    start = jax.tree.map(mean, total)
    plan, key = _plans(parts, state, hyperparameters, counted)
    goes = counted.complete & (counted.counts.sum(1) > 0)
    begin = _Steps(goes, zero, state.server, zero, nothing, nothing, state.lowest)
    one = functools.partial(_step, parts, state, hyperparameters, start, plan, key)
    end = jax.lax.while_loop(lambda steps: steps.goes.any(), one, begin)
    episodes, norm = end.made * plan.episodes, jax.vmap(tree_norm)(start)
    time = jax.vmap(time_of)(episodes, plan.episode_time)
    return Absorbed(end.server, norm, time, episodes, end.diverged, end.env_steps, end.computed_steps, end.lowest)


def _plans(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, counted: Round
) -> tuple[ServerPlan, Key[Array, " runs"]]:
    """Of each run: the steps of its server, and the key of their episodes."""
    episodes = counted.counts.max(1) * parts.trajectories_per_gradient

    def of_run(key: PRNGKeyArray, iteration: Array, own: Any, episodes: Array) -> tuple[ServerPlan, PRNGKeyArray]:
        of_round = jax.random.fold_in(jax.random.fold_in(key, iteration), jnp.uint32(_OWN))
        number, played = jax.random.split(of_round)
        return cast(ServerSide, parts.method.server).plan(own, number, episodes), played

    return jax.vmap(of_run)(state.key, state.iteration, hyperparameters.step, episodes)


def _step(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    heard: Any,
    plan: ServerPlan,
    key: Key[Array, " runs"],
    before: _Steps,
) -> _Steps:
    """One step of every run that goes on. What it has played counts even where it is not made for its drift."""
    there, batch = _play(parts, state, hyperparameters, plan, key, before)
    here, at_start, drift = _gradients(parts, state, hyperparameters, plan, before.server, there, batch)
    direction = jax.vmap(cast(ServerSide, parts.method.server).direction)(here, at_start, heard)
    along = functools.partial(tell, parts.method, axis_name=None)  # all devices have the same
    after, _ = jax.vmap(along)(before.server, hyperparameters.step, direction, jnp.ones_like(drift))
    moves, made = before.goes & (drift <= plan.drift), before.made + before.goes.astype(jnp.int32)
    useful = batch.lengths.reshape(there.shape).sum(1, dtype=jnp.int32)
    return _Steps(
        goes=moves & (made < plan.steps),
        made=made,
        server=only_runs(moves, after, before.server),
        diverged=before.diverged + batch.outcomes.diverged.reshape(there.shape).sum(1, dtype=jnp.int32),
        env_steps=add_steps(before.env_steps, count_steps(useful)),
        computed_steps=add_steps(before.computed_steps, count_steps(shares(batch.computed_steps, useful))),
        lowest=jnp.minimum(before.lowest, batch.lowest()),
    )


def _play(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    plan: ServerPlan,
    key: Key[Array, " runs"],
    steps: _Steps,
) -> tuple[Bool[Array, "runs here"], Trajectories]:
    """A device's episodes of a step, in the environment of worker 1; which of its places have one."""
    here = parts.server_episodes
    place = place_on(parts.axis)[0] * here + jnp.arange(here)
    there = steps.goes[:, None] & (place[None, :] < plan.episodes[:, None])
    of_step = jax.vmap(jax.random.fold_in)(key, steps.made)
    first = jnp.zeros(there.shape, jnp.int32)
    tasks = Tasks(
        keys=jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(of_step, place).reshape(-1),
        active=there.reshape(-1),
        params=jax.vmap(ask)(steps.server).params,
        normalizer=state.normalizer,
        variation=flat(jax.vmap(of_workers)(hyperparameters.variation, first)),
        charge=hyperparameters.charge(state.lowest),
    )
    lanes = min(parts.num_lanes[0], there.size)
    return there, play_block(parts._replace(num_lanes=(lanes,)), tasks)


def _gradients(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    plan: ServerPlan,
    server: ServerState,
    there: Bool[Array, "runs here"],
    batch: Trajectories,
) -> tuple[Any, Any, Float[Array, " runs"]]:
    """The gradient where a step's episodes were played, the weighted one where the round began, and their drift.

    The drift is how far their mean weight is from 1. All three are of the episodes of all devices.
    """
    params, start = jax.vmap(ask)(server).params, jax.vmap(ask)(state.server).params
    share = there.astype(jnp.float32) / plan.episodes[:, None].astype(jnp.float32)
    factors = factors_of_block(parts, state, hyperparameters, batch, share)
    weights = importance_weights(parts.policy, params, start, state.normalizer, batch)
    gradient = functools.partial(policy_gradient_sum, parts.policy)
    sums = (
        gradient(params, state.normalizer, batch, factors),
        gradient(start, state.normalizer, batch, factors * weights[None, :]),
        (share * weights.reshape(there.shape)).sum(1),
    )
    here, at_start, mean = sum_over(parts.axis, sums)
    return here, at_start, jnp.abs(mean - 1)
