"""A block of a round's episodes on one device: which they are, how they are played, and what is made of them."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import Round, collect_round
from nigt_jax.collectives import place_on
from nigt_jax.environments import of_workers
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.methods import Rounds, ask, chosen_batch_size
from nigt_jax.rollout import Tasks, Trajectories, rollout
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._layout import LAYOUTS, Places
from nigt_jax.training._limits import Spent, progress
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import TrainState


@jax.named_scope("clock")
def next_round(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, goes: Bool[Array, " runs"]
) -> tuple[Round, Any]:
    """Who is counted in the next round of each run, and the clocks at the end of collecting.

    Args:
      parts: the run's parts; their method has rounds.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      goes: whether a run has this round; nothing is counted of one that does not.

    Returns:
      The rounds, leaves [runs, ...], and what :func:`nigt_jax.clocks.exchange` goes on with.
    """

    def of_one(own: Hyperparameters, state: TrainState, goes: Array) -> tuple[Round, Any]:
        later = chosen_batch_size(state.seen, own.step) if parts.method.adapts else own.batch_size
        batch_size = jnp.where(state.iteration == 0, own.initial_batch_size, later)
        rule = cast(Rounds, parts.method.schedule).at(own.schedule).rule(batch_size, own.clock.workers)
        counted, collected = collect_round(own.clock, rule, state.clock)
        counts, discarded = (jnp.where(goes, number, 0) for number in (counted.counts, counted.discarded))
        return counted._replace(counts=counts, discarded=discarded), collected

    return jax.vmap(of_one)(hyperparameters, state, goes)


def tasks_of_block(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, counted: Round, number: Int[Array, ""]
) -> tuple[Tasks, Places]:
    """The episodes of a round's block that are this device's own, and what they are for.

    Args:
      parts: the run's parts.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      counted: the round.
      number: the block's, from 0.

    Returns:
      The tasks, run after run; and the places, leaves [runs, episodes].
    """
    (me, devices), each = place_on(parts.axis), parts.trajectories_per_gradient
    place = (number * devices + me) * parts.episodes + jnp.arange(parts.episodes)
    places = jax.vmap(LAYOUTS[parts.layout][0], (0, None, None))(counted, each, place)
    return tasks_of_places(state, hyperparameters, places), places


def tasks_of_places(state: TrainState, hyperparameters: Hyperparameters, places: Places) -> Tasks:
    """The episodes of some places, played at the query point of their run."""
    round_key = jax.vmap(jax.random.fold_in)(state.key, state.iteration)
    return Tasks(
        keys=jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(round_key, places.episode).reshape(-1),
        active=places.played.reshape(-1),
        params=jax.vmap(ask)(state.server).params,
        normalizer=state.normalizer,
        variation=flat(jax.vmap(of_workers)(hyperparameters.variation, places.worker)),
        charge=hyperparameters.charge(state.lowest),
    )


def play_block(parts: Parts, tasks: Tasks) -> Trajectories:
    """Plays the episodes and keeps every step."""
    return rollout(
        parts.environment,
        parts.policy,
        tasks,
        parts.horizon,
        parts.num_lanes,
        parts.chunk_size,
        lanes_last=parts.lanes_last,
    )


def gradient_of_block(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    batch: Trajectories,
    weight: Float[Array, "runs episodes"],
) -> Any:
    """The device's weighted sum of the episodes' policy gradients at the query point, leaves [runs, ...]."""
    factors = factors_of_block(parts, state, hyperparameters, batch, weight)
    return policy_gradient_sum(parts.policy, jax.vmap(ask)(state.server).params, state.normalizer, batch, factors)


def factors_of_block(
    parts: Parts,
    state: TrainState,
    hyperparameters: Hyperparameters,
    batch: Trajectories,
    weight: Float[Array, "runs episodes"],
) -> Float[Array, "time places"]:
    """The factors of scores with the episodes' weights. A baseline is made of the episodes of all devices."""
    coefficients = jax.named_scope("baseline")(parts.estimator.coefficients)
    factors = coefficients(state.estimator, batch, state.normalizer, hyperparameters.estimator, parts.axis)
    return factors * weight.reshape(1, -1)


def step_now(state: TrainState, hyperparameters: Hyperparameters, spent: Spent) -> Any:
    """Hyperparameters of the update of a round that is about to begin."""
    now = progress(spent, state.iteration, state.clock.now)
    return jax.vmap(lambda step, now: step.at(now))(hyperparameters.step, now)


def flat(tree: Any) -> Any:
    """Leaves with one axis of episodes, from leaves with one of runs and one of each run's episodes."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def only_runs(chosen: Bool[Array, " runs"], new: Any, old: Any) -> Any:
    """The new leaves of the chosen runs, and the old ones of the others."""

    def of_runs(x: Array, y: Array) -> Array:
        return jnp.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return jax.tree.map(of_runs, new, old)


def shares(total: Int[Array, ""], of: Int[Array, "*parts"]) -> Int[Array, "*parts"]:
    """A number shared out in proportion, rounded; all of it where there is only one part."""
    if of.size == 1:
        return jnp.broadcast_to(total, of.shape)
    real = of.astype(jnp.float32)
    return jnp.round(total.astype(jnp.float32) * real / jnp.maximum(real.sum(), 1)).astype(jnp.int32)


def number_of_blocks(parts: Parts, counted: Round, playable: Any) -> Int[Array, ""]:
    """Blocks that the largest round of all runs takes on the devices of the axis; 0 for what is not playable."""
    across = parts.episodes * place_on(parts.axis)[1]
    places = jax.vmap(functools.partial(LAYOUTS[parts.layout][1], each=parts.trajectories_per_gradient))(counted)
    return (jnp.where(playable, places, 0).max() + across - 1) // across
