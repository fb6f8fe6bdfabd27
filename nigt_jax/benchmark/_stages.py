"""Programs of which each does a little more than the one before it, on the same lanes and the same episodes.

All are functions of one device, (parts, state, hyperparameters) to (useful steps, computed steps, a number). The number
depends on so much of what was computed that the compiler leaves nothing out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nigt_jax.collectives import sum_over
from nigt_jax.environments import action_space, observed
from nigt_jax.rollout import Tasks, Trajectories, observation_statistics, play_only, side_by_side
from nigt_jax.training import (
    Hyperparameters,
    Parts,
    StepCount,
    TrainState,
    count_steps,
    gradient_of_block,
    next_round,
    play_block,
    run_round,
    spent_of,
    tasks_of_block,
)

Stage = Callable[[Parts, TrainState, Hyperparameters], tuple[StepCount, StepCount, Array]]


def physics(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """Lanes that take the same actions in every step, and never end."""
    actions = action_space(parts.environment).draw(state.key[0], parts.num_lanes[0])
    return _lanes(parts, state, hyperparameters, lambda observation, keys: actions)


def policy(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """Lanes that take actions of the policy, and never end: raw physics with the policy's forward pass."""
    params, normalizer = jax.tree.map(lambda x: x[0], (state.server.sent, state.normalizer))
    act = jax.vmap(parts.policy.sample, (None, None, 0, 0))
    draw = lambda observation, keys: parts.policy.action(act(params, normalizer, observation, keys))
    return _lanes(parts, state, hyperparameters, draw)


def queue(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """The round's episodes through the queue, from reset to end; nothing is kept."""
    tasks = _tasks(parts, state, hyperparameters)
    outcomes, computed = play_only(
        parts.environment, parts.policy, tasks, parts.horizon, parts.num_lanes, lanes_last=parts.lanes_last
    )
    return _steps(outcomes.lengths), count_steps(computed), outcomes.returns.sum()


def storage(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """The same, and every step is kept: rollouts as training makes them."""
    batch = _rollout(parts, state, hyperparameters)
    last = jax.tree.map(lambda x: x[-1], (batch.observation, batch.sample, batch.reward))  # to read all takes time
    return _steps(batch.lengths), count_steps(batch.computed_steps), _all_of(last)


def gradient(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """The same, and the policy gradient and the statistics of observations are made of them."""
    batch = _rollout(parts, state, hyperparameters)
    total, seen = _learnt(parts, state, hyperparameters, batch, None)
    return _steps(batch.lengths), count_steps(batch.computed_steps), _all_of((total, seen))


def communication(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters
) -> tuple[StepCount, StepCount, Array]:
    """The same, and devices tell each other of gradients and observations, too."""
    batch = _rollout(parts, state, hyperparameters)
    total, seen = _learnt(parts, state, hyperparameters, batch, parts.axis)
    return _steps(batch.lengths), count_steps(batch.computed_steps), _all_of((sum_over(parts.axis, total), seen))


def training(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> tuple[StepCount, StepCount, Array]:
    """A whole round: the clock, all of the above, what devices tell each other, and the update."""
    after, metrics = run_round(parts, state, hyperparameters, spent_of(1), jnp.ones(1, bool))
    learnt = (after.server, after.normalizer, after.estimator)
    return *jax.tree.map(lambda x: x[0], (metrics.env_steps, metrics.computed_steps)), _all_of(learnt)


STAGES: dict[str, Stage] = {
    "physics": physics,
    "+ policy": policy,
    "+ queue": queue,
    "+ storage": storage,
    "+ gradient": gradient,
    "+ communication": communication,
    "+ update": training,
}


def _lanes(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, act: Callable[[Array, Array], Array]
) -> tuple[StepCount, StepCount, Array]:
    """As many steps of all lanes as an episode may have."""
    tasks = _tasks(parts, state, hyperparameters)
    keys, variation = jax.tree.map(lambda x: x[: parts.num_lanes[0]], (tasks.keys, tasks.variation))
    reset, advance = side_by_side(parts.environment, lanes_last=parts.lanes_last)

    def step(now: Any, number: Array) -> tuple[Any, None]:
        actions = act(observed(now).T, jax.vmap(jax.random.fold_in, (0, None))(keys, number))
        return advance(variation, now, actions.T), None

    end, _ = jax.lax.scan(step, reset(variation, keys), jnp.arange(parts.horizon))
    steps = count_steps(jnp.asarray(parts.horizon * keys.shape[0], jnp.int32))
    return steps, steps, _all_of((observed(end), end.reward))


def _tasks(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Tasks:
    """The device's episodes of the first block of the next round."""
    counted, _ = next_round(parts, state, hyperparameters, jnp.ones(1, bool))
    return tasks_of_block(parts, state, hyperparameters, counted, jnp.asarray(0))[0]


def _rollout(parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Trajectories:
    return play_block(parts, _tasks(parts, state, hyperparameters))


def _learnt(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, batch: Trajectories, axis: str | None
) -> Any:
    """Sum of policy gradients; mean and variance of the axis's observations."""
    total = gradient_of_block(parts, state, hyperparameters, batch, jnp.ones((1, batch.lengths.size)))
    seen = observation_statistics(batch, axis)
    return total, (seen.mean, seen.variance)


def _steps(lengths: Array) -> StepCount:
    return count_steps(lengths.sum(dtype=jnp.int32))


def _all_of(tree: Any) -> Array:
    return sum((jnp.sum(x, dtype=jnp.float32) for x in jax.tree.leaves(tree)), start=jnp.zeros([]))
