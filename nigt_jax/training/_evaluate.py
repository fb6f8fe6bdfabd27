"""Episodes of the model: always the iterate, always from the same keys."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.methods import Iterate
from nigt_jax.rollout import Normalizer, Variation, of_workers, rollout
from nigt_jax.training._spmd import AXIS
from nigt_jax.training._state import Parts


class Episodes(NamedTuple):
    """What an evaluation saw; rows beyond the number asked for are padding.

    Attributes:
      returns: undiscounted return of each episode.
      lengths: steps of each episode.
    """

    returns: Float[Array, " episodes"]
    lengths: Int[Array, " episodes"]


def evaluate(
    parts: Parts,
    episodes: int,
    model: Iterate,
    normalizer: Normalizer,
    key: PRNGKeyArray,
    variation: Variation | None = None,
) -> Episodes:
    """Plays `episodes` episodes of the iterate with the stochastic policy, shared by the devices of the axis.

    Args:
      parts: of the run.
      episodes: how many.
      model: the iterate. Bare parameters or a query point are refused: evaluating those is the classic mistake.
      normalizer: observation statistics that belong to it.
      key: the same in every evaluation, and for every worker, for common random numbers.
      variation: how workers' environments differ; with one, so many episodes are played in each of them.

    Returns:
      The episodes in the order of workers and keys, the same on every device.

    Raises:
      TypeError: `model` is no Iterate.
    """
    if not isinstance(model, Iterate):
        raise TypeError(f"only an Iterate is evaluated, got a {type(model).__name__}")
    workers = 1 if variation is None else variation.gravity.shape[0]
    lanes = -(-episodes * workers // jax.lax.axis_size(AXIS))
    place = jax.lax.axis_index(AXIS) * lanes + jnp.arange(lanes)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, place % episodes)
    batch = rollout(
        parts.environment,
        parts.policy,
        model.params,
        normalizer,
        keys,
        place < episodes * workers,
        parts.horizon,
        of_workers(variation, jnp.minimum(place // episodes, workers - 1)),
    )
    gather = lambda x: jax.lax.all_gather(x, AXIS, tiled=True)
    return Episodes(gather(batch.returns()), gather(batch.lengths()))


def summarise(episodes: Episodes, number: int, workers: int) -> dict[str, Any]:
    """Mean, deviation between episodes and mean length, as they stand in a record.

    Args:
      episodes: as played.
      number: of episodes in each environment.
      workers: that have an environment of their own; with more than one, the record has each one's mean too.
    """
    returns = jax.device_get(episodes.returns)[: number * workers].astype("float64").reshape(workers, number)
    lengths = jax.device_get(episodes.lengths)[: number * workers].astype("float64")
    record = {
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "episode_length_mean": float(lengths.mean()),
    }
    return record | ({"return_by_worker": returns.mean(axis=1).tolist()} if workers > 1 else {})
