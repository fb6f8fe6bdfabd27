"""What the workers of a block of arrivals deliver: computed at once, each gradient at what its worker was sent."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.collectives import gather_over, place_on
from nigt_jax.environments import of_workers
from nigt_jax.estimators import policy_gradient_sum
from nigt_jax.policies import ObservationStatistics
from nigt_jax.rollout import Outcomes, Tasks, Trajectories, observation_statistics
from nigt_jax.training._arrival_block import Block, places_of
from nigt_jax.training._block import flat, play_block, shares
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import Sent, TrainState


class Delivered(NamedTuple):
    """What workers deliver, in the order of places.

    Attributes:
      gradient: each gradient, a tree like the parameters.
      statistics: statistics of each one's observations.
      outcomes: how its episodes went, leaves [places, trajectories per gradient].
      lowest: reward of a step in them.
      computed_steps: its share of those that the lanes made for all of them.
    """

    gradient: Any
    statistics: ObservationStatistics
    outcomes: Outcomes
    lowest: Float[Array, " places"]
    computed_steps: Int[Array, " places"]


def deliver(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, block: Block
) -> tuple[Delivered, Trajectories]:
    """The gradients of the runs' blocks, each device computing its share of them, and all the episodes.

    Every gradient is a group of its own, with the parameters that its worker was sent.
    """
    runs = hyperparameters.batch_size.size
    (me, devices), each, places = place_on(parts.axis), parts.trajectories_per_gradient, places_of(parts)
    mine = jax.tree.map(functools.partial(_dealt, devices=devices, me=me), block)
    sent: Sent = flat(jax.vmap(lambda sent, worker: jax.tree.map(lambda x: x[worker], sent))(state.sent, mine.worker))
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(state.key, mine.serial).reshape(-1)

    def for_each_episode(x: Array) -> Array:
        return jnp.repeat(x, each, axis=1)

    tasks = Tasks(
        keys=jax.vmap(lambda key: jax.random.split(key, each))(keys).reshape(-1),
        active=for_each_episode(mine.absorbed).reshape(-1),
        params=sent.params,
        normalizer=sent.normalizer,
        variation=flat(jax.vmap(of_workers)(hyperparameters.variation, for_each_episode(mine.worker))),
        charge=flat(
            jax.vmap(Hyperparameters.charge)(hyperparameters, state.sent.lowest[jnp.arange(runs)[:, None], mine.worker])
        ),
    )
    batch = play_block(parts, tasks)
    tuned = jax.tree.map(lambda x: jnp.repeat(x, places), hyperparameters.estimator)
    factors = parts.estimator.coefficients(sent.estimator, batch, sent.normalizer, tuned, None)
    lane = batch.outcomes.lane + me * parts.num_lanes[0]  # numbered over all devices
    delivered = Delivered(
        gradient=policy_gradient_sum(parts.policy, sent.params, sent.normalizer, batch, factors),
        statistics=observation_statistics(batch, None),
        outcomes=jax.tree.map(lambda x: x.reshape(-1, each), batch.outcomes._replace(lane=lane)),
        lowest=batch.lowest(),
        computed_steps=shares(batch.computed_steps, batch.lengths.reshape(-1, each).sum(1)),
    )
    by_run = jax.tree.map(lambda x: x.reshape(runs, places, *x.shape[1:]), delivered)
    everybody = jax.tree.map(functools.partial(_in_order, devices=devices), gather_over(parts.axis, by_run, axis=1))
    return everybody, _gathered_record(parts.axis, batch)


def _dealt(x: Array, devices: int, me: Any) -> Array:
    """The places of this device, of each run, dealt out in turns: a block's empty places are its last ones."""
    hands = x.reshape(x.shape[0], -1, devices, *x.shape[2:])
    return jax.lax.dynamic_index_in_dim(hands, me, axis=2, keepdims=False)


def _in_order(x: Array, devices: int) -> Array:
    """All places in their order again, from the hands of the devices one after the other."""
    hands = x.reshape(x.shape[0], devices, -1, *x.shape[2:])
    return jnp.swapaxes(hands, 1, 2).reshape(x.shape)


def _gathered_record(axis: str | None, batch: Trajectories) -> Trajectories:
    """The episodes of all devices, lanes side by side; of the outcomes those of this device."""
    record = (batch.observation, batch.sample, batch.reward)
    observation, sample, reward = gather_over(axis, record, axis=1)
    return dataclasses.replace(batch, observation=observation, sample=sample, reward=reward)
