"""What a device makes of a block of a round's episodes: they are played, and their gradients summed.

A method that moves its momentum along with the parameters has as many episodes played again, at a point between the
last two, and summed to how the gradient has changed from one to the other.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.estimators import hessian_vector_sum, policy_gradient_sum
from nigt_jax.methods import ask
from nigt_jax.rollout import Tasks, Trajectories
from nigt_jax.training._block import factors_of_block, play_block
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._layout import Places
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import TrainState

_AGAIN = 0xA9A1  # folded into the key of an episode for the one that is played again
_WHERE = 0xFFFFFFFF  # folded into the key of a round, and not the number of any episode


class Work(NamedTuple):
    """What comes of a block on one device.

    Attributes:
      batch: the episodes at the query point.
      gradient: weighted sum of their policy gradients, leaves [runs, ...].
      half: that of every other gradient, likewise; () where nobody asks.
      beside: other weighted sums that the update needs, by name, likewise.
      lengths: steps of every place's episodes, of all that were played for it; shape [places], run after run.
      diverged: how many of them broke the physics, likewise.
    """

    batch: Trajectories
    gradient: Any
    half: Any
    beside: dict[str, Any]
    lengths: Int[Array, " places"]
    diverged: Int[Array, " places"]


def work_of_block(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    tasks: Tasks,
    places: Places,
    weight: Float[Array, "runs each"],
) -> Work:
    """Plays a block's episodes, and sums up what is made of those that count.

    Args:
      parts: the run's parts.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      tasks: the episodes, run after run, all at the query point of their run.
      places: what they are for, leaves [runs, each].
      weight: of each of them.
    """
    factors_of = functools.partial(factors_of_block, parts, state, hyperparameters, weight=weight)
    counted, last_step = places.counted.reshape(-1), parts.method.last_step
    if last_step is not None:
        return _with_change(parts, state, factors_of, tasks, counted, last_step)
    batch = play_block(parts, tasks).only(counted)
    summed = functools.partial(policy_gradient_sum, parts.policy, tasks.params, state.normalizer)
    factors, diverged = factors_of(batch), batch.outcomes.diverged.astype(jnp.int32)
    if not parts.method.adapts:
        return Work(batch, summed(batch, factors), (), {}, batch.lengths, diverged)
    even = (places.episode // parts.trajectories_per_gradient % 2 == 0).reshape(-1)
    half, rest = summed(batch.only(even), factors), summed(batch.only(~even), factors)
    return Work(batch, jax.tree.map(jnp.add, half, rest), half, {}, batch.lengths, diverged)


def no_sums(parts: Parts, state: TrainState) -> tuple[Any, Any, dict[str, Any]]:
    """Gradient, half and what is beside them, of no episodes."""
    nothing = jax.tree.map(jnp.zeros_like, state.server.sent)
    half = nothing if parts.method.adapts else ()
    return nothing, half, {} if parts.method.last_step is None else {"change": nothing}


def _with_change(
    parts: Parts,
    state: TrainState,
    factors_of: Callable[[Trajectories], Array],
    tasks: Tasks,
    counted: Bool[Array, " places"],
    last_step: Callable,
) -> Work:
    """The work of episodes that are played twice: at the query point, and at a point of the step that led to it."""
    step, point = _between(state, last_step)
    again = tasks._replace(keys=jax.vmap(jax.random.fold_in, (0, None))(tasks.keys, _AGAIN), params=point)
    played = play_block(parts, jax.tree.map(lambda *x: jnp.concatenate(x), tasks, again))
    here, there = (half.only(counted) for half in _halves(played))
    change = hessian_vector_sum(parts.policy, point, state.normalizer, there, factors_of(there), step)
    return Work(
        batch=here,
        gradient=policy_gradient_sum(parts.policy, tasks.params, state.normalizer, here, factors_of(here)),
        half=(),
        beside={"change": change},
        lengths=here.lengths + there.lengths,
        diverged=here.outcomes.diverged.astype(jnp.int32) + there.outcomes.diverged.astype(jnp.int32),
    )


def _between(state: TrainState, last_step: Callable) -> tuple[Any, Any]:
    """Every run's last step, and a point of it, drawn evenly: one a round, for all of its episodes."""
    steps = jax.vmap(last_step)(state.server.opt_state)
    steps = jax.tree.map(lambda u, like: u.astype(like.dtype), steps, state.server.sent)

    def drawn(key: Any, iteration: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, iteration), jnp.uint32(_WHERE)))

    share = jax.vmap(drawn)(state.key, state.iteration)
    back = lambda x, u: x - share.reshape(-1, *[1] * (x.ndim - 1)) * u
    return steps, jax.tree.map(back, jax.vmap(ask)(state.server).params, steps)


def _halves(played: Trajectories) -> tuple[Trajectories, Trajectories]:
    """The first half of the groups, and the second; they share the record of the steps."""

    def half(which: int) -> Trajectories:
        own = jax.tree.map(lambda x: jnp.split(x, 2)[which], (played.outcomes, played.charge))
        return dataclasses.replace(played, groups=played.groups // 2, outcomes=own[0], charge=own[1])

    return half(0), half(1)
