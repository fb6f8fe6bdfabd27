"""What workers do that are not honest: to the rewards that they learn from, or to the message that they send."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.collectives import gather_over
from nigt_jax.config import ATTACKS, WorkersConfig
from nigt_jax.rollout import Trajectories

_HONEST = -1


class Attacks(NamedTuple):
    """Every worker's.

    Attributes:
      kind: its number in :data:`nigt_jax.config.ATTACKS`, -1 of an honest worker; shape [workers].
      scale: how strong it is.
    """

    kind: Int[Array, "*workers"]
    scale: Float[Array, "*workers"]

    def are(self, name: str) -> Bool[Array, "*workers"]:
        """Who has this one."""
        return self.kind == list(ATTACKS).index(name)


def make_attacks(workers: WorkersConfig) -> Attacks | None:
    """The attacks that a configuration describes; None where everybody is honest."""
    if not workers.byzantine:
        return None
    kind, scale = np.full(workers.count, _HONEST, np.int32), np.ones(workers.count, np.float32)
    for some in workers.byzantine:
        chosen = np.array(some.workers) - 1
        kind[chosen], scale[chosen] = list(ATTACKS).index(some.attack), some.strength
    return Attacks(jnp.asarray(kind), jnp.asarray(scale))


def falsified_rewards(
    attacks: Attacks, key: PRNGKeyArray, own: Trajectories, number: Int[Array, " here"]
) -> Trajectories:
    """The workers' episodes, with the rewards that dishonest ones pretend.

    Args:
      attacks: of all workers.
      key: of the round; the same on every device.
      own: the episodes, a group for each worker here.
      number: their numbers from 0.
    """
    each, earned = own.lengths.size // own.groups, own.earned()
    mine = jax.tree.map(lambda x: jnp.repeat(x[number], each)[None, :], attacks)
    flipped = jnp.where(mine.are("reward_flip"), -mine.scale * earned, earned)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, number)
    drawn = jax.vmap(lambda k: jax.random.uniform(k, (each, own.horizon), minval=-1.0))(keys)
    drawn = mine.scale * drawn.reshape(-1, own.horizon).T
    return own.with_earned(jnp.where(mine.are("random_reward"), drawn, flipped))


def falsified_messages(
    attacks: Attacks,
    key: PRNGKeyArray,
    message: Any,
    sends: Bool[Array, " here"],
    number: Int[Array, " here"],
    axis: Any,
) -> Any:
    """The messages of a device's workers, and what dishonest ones send in their place.

    Args:
      attacks: of all workers.
      key: of the round and the exchange; the same on every device.
      message: what the workers here would send, a tree whose leaves have an axis of them in front.
      sends: which of them send something.
      number: their numbers from 0.
      axis: of the devices, or None.
    """
    vectors = jax.vmap(lambda one: ravel_pytree(one)[0])(message)
    back: Callable = jax.vmap(ravel_pytree(jax.tree.map(lambda x: x[0], message))[1])
    mine = jax.tree.map(lambda x: x[number], attacks)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, number)
    noise = jax.vmap(lambda k: jax.random.uniform(k, vectors.shape[1:], minval=-1.0))(keys)
    width = mine.scale * (vectors.max(1) - vectors.min(1))
    instead = {
        "zero": jnp.zeros_like(vectors),
        "sign_flip": -mine.scale[:, None] * vectors,
        "noise": width[:, None] * noise,
        "collusion": _agreed(mine, key, vectors, sends, axis),
        "not_finite": jnp.full_like(vectors, jnp.nan),
    }
    for name, other in instead.items():
        vectors = jnp.where(mine.are(name)[:, None], other, vectors)
    return back(vectors)


def _agreed(mine: Attacks, key: Any, vectors: Array, sends: Bool[Array, " here"], axis: Any) -> Array:
    """The mean of the honest, and away from it in a direction drawn together."""
    honest, everyone = gather_over(axis, (sends & (mine.kind == _HONEST), vectors), axis=0)
    weight = honest.astype(jnp.float32)
    mean = weight @ everyone / jnp.maximum(weight.sum(), 1)

    def farthest(one: Array) -> Array:
        return jnp.max(jnp.where(honest, jnp.sqrt(jnp.square(everyone - one[None]).sum(1)), 0))

    widest = jnp.max(jnp.where(honest, jax.lax.map(farthest, everyone), 0))
    direction = jax.random.normal(key, mean.shape)
    unit = direction / jnp.sqrt(jnp.square(direction).sum())
    return mean[None] + (mine.scale * widest)[:, None] * unit[None]
