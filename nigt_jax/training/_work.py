"""What a device makes of a block of a round's episodes: they are played, and their gradients summed.

A method that moves its momentum along with the parameters has as many episodes played again, at a point between the
last two, and summed to how the gradient has changed from one to the other.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.estimators import hessian_vector_sum, policy_gradient_sum
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
      beside: other weighted sums, by name, likewise: `change` of how it has changed, `half` of every other gradient.
      lengths: steps of every place's episodes, of all that were played for it; shape [places], run after run.
      diverged: how many of them broke the physics, likewise.
    """

    batch: Trajectories
    gradient: Any
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
    last_step, counted = parts.method.last_step, places.counted.reshape(-1)
    played = play_block(parts, tasks if last_step is None else _twice(tasks, state, last_step))
    here, *again = (part.only(counted) for part in _in_parts(played, parts.method.plays))

    factors = factors_of_block(parts, state, hyperparameters, here, weight)
    summed = functools.partial(policy_gradient_sum, parts.policy, tasks.params, state.normalizer)
    beside = {}
    if parts.method.adapts:
        even = (places.episode // parts.trajectories_per_gradient % 2 == 0).reshape(-1)
        beside["half"] = summed(here.only(even), factors)
        gradient = jax.tree.map(jnp.add, beside["half"], summed(here.only(~even), factors))
    else:
        gradient = summed(here, factors)
    for batch in again:
        step = _last_steps(state, cast(Callable, last_step))
        factors = factors_of_block(parts, state, hyperparameters, batch, weight)
        at = _between(tasks, state, step)
        beside["change"] = hessian_vector_sum(parts.policy, at, state.normalizer, batch, factors, step)
    of_all = [here, *again]
    return Work(
        batch=here,
        gradient=gradient,
        beside=beside,
        lengths=sum((own.lengths for own in of_all[1:]), start=here.lengths),
        diverged=sum((own.outcomes.diverged.astype(jnp.int32) for own in of_all), start=jnp.int32(0)),
    )


def no_sums(parts: Parts, state: TrainState) -> tuple[Any, dict[str, Any]]:
    """The gradient, and what is beside it, of no episodes."""
    nothing = jax.tree.map(jnp.zeros_like, state.server.sent)
    names = ["half"] * parts.method.adapts + ["change"] * (parts.method.plays - 1)
    return nothing, dict.fromkeys(names, nothing)


def _last_steps(state: TrainState, last_step: Callable) -> Any:
    """Every run's last step of the parameters, in their own precision."""
    steps = jax.vmap(last_step)(state.server.opt_state)
    return jax.tree.map(lambda u, like: u.astype(like.dtype), steps, state.server.sent)


def _between(tasks: Tasks, state: TrainState, step: Any) -> Any:
    """Points between the last two parameters of each run, drawn evenly: one a round, for all of its episodes."""

    def drawn(key: Any, iteration: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, iteration), jnp.uint32(_WHERE)))

    share = jax.vmap(drawn)(state.key, state.iteration)
    return jax.tree.map(lambda x, u: x - share.reshape(-1, *[1] * (x.ndim - 1)) * u, tasks.params, step)


def _twice(tasks: Tasks, state: TrainState, last_step: Callable) -> Tasks:
    """The tasks, and as many again with keys of their own at points between: groups of their own."""
    again = tasks._replace(
        keys=jax.vmap(jax.random.fold_in, (0, None))(tasks.keys, _AGAIN),
        params=_between(tasks, state, _last_steps(state, last_step)),
    )
    return jax.tree.map(lambda *x: jnp.concatenate(x), tasks, again)


def _in_parts(played: Trajectories, number: int) -> list[Trajectories]:
    """Equal parts of the groups, one after the other; they share the record of the steps."""

    def part(which: int) -> Trajectories:
        def own(x: Array) -> Array:
            size = x.shape[0] // number
            return x[which * size : (which + 1) * size]

        outcomes, charge = jax.tree.map(own, (played.outcomes, played.charge))
        return dataclasses.replace(played, groups=played.groups // number, outcomes=outcomes, charge=charge)

    return [part(which) for which in range(number)]
