"""Stages of a round, of which each does a little more than the one before it, on the same lanes and the same episodes.

Compiling takes longer than measuring, and most of it is physics. So stages that differ little share a program, which is
told at every call how far to go: a loop of that length, none or one, has what a stage does beyond the one before it.
(Not a conditional: XLA for CPU runs a branch of one more slowly.)

All programs are functions of one device, (parts, state, hyperparameters, how far) to (useful steps, computed steps, a
number). The number depends on so much of what was computed that the compiler leaves nothing out.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from nigt_jax.collectives import sum_over
from nigt_jax.environments import action_space, observed
from nigt_jax.rollout import Tasks, Trajectories, observation_statistics, play_only, side_by_side
from nigt_jax.training import (
    Hyperparameters,
    Parts,
    StepCount,
    TrainState,
    add_steps,
    count_steps,
    gradient_of_block,
    next_round,
    play_block,
    run_round,
    spent_of,
    tasks_of_block,
)

_ROUNDS = 3  # in a program: memory is taken from the system once for all of them, as for a chunk of training
Made = tuple[StepCount, StepCount, Array]


class Shared(NamedTuple):
    """A program of one stage or of several.

    Attributes:
      stages: their names, in order; the number of one is how far the program has to go for it.
      function: the program's function of one device.
    """

    stages: tuple[str, ...]
    function: Callable[[Parts, TrainState, Hyperparameters, Int[Array, ""]], Made]


def lanes(parts: Parts, state: TrainState, hyperparameters: Hyperparameters, far: Int[Array, ""]) -> Made:
    """Lanes that never end, as many steps of all as an episode may have.

    The first stage has the same actions in every step, the second those of the policy: raw physics with the policy's
    forward pass.
    """
    tasks = _tasks(parts, state, hyperparameters)
    keys, variation = jax.tree.map(lambda x: x[: parts.num_lanes[0]], (tasks.keys, tasks.variation))
    reset, advance = side_by_side(parts.environment, lanes_last=parts.lanes_last)
    same = action_space(parts.environment).draw(state.key[0], parts.num_lanes[0])
    params, normalizer = jax.tree.map(lambda x: x[0], (state.server.sent, state.normalizer))
    act = jax.vmap(parts.policy.sample, (None, None, 0, 0))

    def step(now: Any, number: Array) -> tuple[Any, None]:
        def drawn(zero: Array, actions: Array) -> Array:
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, number + zero)
            observation = observed(now).T + zero.astype(float)
            return parts.policy.action(act(params, normalizer, observation, own)).astype(actions.dtype)

        return advance(variation, now, _perhaps(far >= 1, drawn, same).T), None

    end, _ = jax.lax.scan(step, reset(variation, keys), jnp.arange(parts.horizon))
    steps = count_steps(jnp.asarray(parts.horizon * keys.shape[0], jnp.int32))
    return steps, steps, _all_of((observed(end), end.reward))


def queue(parts: Parts, state: TrainState, hyperparameters: Hyperparameters, far: Int[Array, ""]) -> Made:
    """The round's episodes through the queue, from reset to end; nothing is kept."""
    del far
    tasks = _tasks(parts, state, hyperparameters)
    outcomes, computed = play_only(
        parts.environment, parts.policy, tasks, parts.horizon, parts.num_lanes, lanes_last=parts.lanes_last
    )
    return _steps(outcomes.lengths), count_steps(computed), outcomes.returns.sum()


def rounds(parts: Parts, state: TrainState, hyperparameters: Hyperparameters, far: Int[Array, ""]) -> Made:
    """The same, and every step is kept: rollouts as training makes them.

    The second stage makes the policy gradient and the statistics of observations of them; in the third, devices tell
    each other of both, too. The last one is a whole round: the clock, all of that, and the update. It plays episodes of
    its own, in blocks of the same shapes, which XLA compiles once.
    """

    def kept(zero: Array, _: Made) -> Made:
        now = _later(state, zero)
        batch = play_block(parts, _tasks(parts, now, hyperparameters))
        last = jax.tree.map(lambda x: x[-1], (batch.observation, batch.sample, batch.reward))  # to read all takes time
        made = _perhaps(far == 1, functools.partial(learnt, None, now, batch), _all_of(last))
        made = _perhaps(far == 2, functools.partial(learnt, parts.axis, now, batch), made)
        return _steps(batch.lengths), count_steps(batch.computed_steps), made

    def learnt(axis: str | None, now: TrainState, batch: Trajectories, zero: Array, made: Array) -> Array:
        own = batch.only(jnp.broadcast_to(zero == 0, batch.lengths.shape))
        total = gradient_of_block(parts, now, hyperparameters, own, jnp.ones((1, own.lengths.size)))
        seen = observation_statistics(own, axis)
        return made + _all_of((sum_over(axis, total), seen.mean, seen.variance))

    def whole(zero: Array, _: Made) -> Made:
        after, metrics = run_round(parts, _later(state, zero), hyperparameters, spent_of(1), jnp.ones(1, bool))
        useful, computed = jax.tree.map(lambda x: x[0], (metrics.env_steps, metrics.computed_steps))
        return useful, computed, _all_of((after.server, after.normalizer, after.estimator))

    return _perhaps(far == 3, whole, _perhaps(far < 3, kept, _nothing()))


PROGRAMS = (
    Shared(("physics", "+ policy"), lanes),
    Shared(("+ queue",), queue),
    Shared(("+ storage", "+ gradient", "+ communication", "+ update"), rounds),
)
STAGES = tuple(stage for shared in PROGRAMS for stage in shared.stages)


def play_stages(
    shared: Shared, parts: Parts, state: TrainState, hyperparameters: Hyperparameters, far: Int[Array, ""]
) -> Any:
    """A program of a few rounds, other episodes in each; what it makes on all devices.

    Args:
      shared: the program.
      parts: the run's parts.
      state: the run's state.
      hyperparameters: the run's hyperparameters.
      far: number of the stage among the program's.
    """

    def one(number: Array, sums: Any) -> Any:
        useful, computed, made = shared.function(parts, _later(state, number), hyperparameters, far)
        return add_steps(sums[0], useful), add_steps(sums[1], computed), sums[2] + made

    return sum_over(parts.axis, jax.lax.fori_loop(0, _ROUNDS, one, _nothing()))


def _nothing() -> Made:
    none = count_steps(jnp.zeros([], jnp.int32))
    return none, none, jnp.zeros([])


def _later(state: TrainState, rounds: Array) -> TrainState:
    """The state with other episodes before it, those of a later round."""
    return state._replace(iteration=state.iteration + rounds)


def _perhaps(asked: Array, function: Callable[[Array, Any], Any], otherwise: Any) -> Any:
    """What the function makes of it, or `otherwise` itself where it is not asked for, which takes no time.

    Args:
      asked: whether it is.
      function: gets the loop's counter, too, which is 0. XLA does not know that, and computes before the loop, asked or
        not, whatever does not depend on it: so the function has to mix it into what it starts from.
      otherwise: what it starts with.
    """
    return jax.lax.fori_loop(0, asked.astype(jnp.int32), function, otherwise)


def _tasks(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Tasks:
    """The device's episodes of the first block of the next round."""
    counted, _ = next_round(parts, state, hyperparameters, jnp.ones(1, bool))
    return tasks_of_block(parts, state, hyperparameters, counted, jnp.asarray(0))[0]


def _steps(lengths: Array) -> StepCount:
    return count_steps(lengths.sum(dtype=jnp.int32))


def _all_of(tree: Any) -> Array:
    return sum((jnp.sum(x, dtype=jnp.float32) for x in jax.tree.leaves(tree)), start=jnp.zeros([]))
