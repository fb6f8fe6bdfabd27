"""Episodes of the model: always the iterate, always from the same keys."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.collectives import gather_over, place_on
from nigt_jax.environments import Variation, of_workers
from nigt_jax.methods import Iterate
from nigt_jax.policies import Normalizer
from nigt_jax.rollout import Tasks, play_only
from nigt_jax.training._block import flat
from nigt_jax.training._parts import Parts

_LANES = 64  # or as many as training has: methods that absorb one gradient at a time have hardly any
_FEW_ON_CPU = 16  # fewer lanes than that do not do on a CPU


class Episodes(NamedTuple):
    """What an evaluation saw; columns beyond the number asked for are padding.

    Attributes:
      returns: undiscounted return of each episode.
      lengths: steps of each episode.
      diverged: whether the physics broke.
    """

    returns: Float[Array, "runs episodes"]
    lengths: Int[Array, "runs episodes"]
    diverged: Bool[Array, "runs episodes"]


def evaluate(
    parts: Parts,
    episodes: int,
    model: Iterate,
    normalizer: Normalizer,
    key: PRNGKeyArray,
    variation: Variation | None = None,
    charge: Float[Array, " runs"] | None = None,
    asked: Bool[Array, " runs"] | None = None,
    *,
    beside_training: bool = False,
) -> Episodes:
    """Plays `episodes` episodes of each run's iterate with the stochastic policy, shared by the devices of the axis.

    Args:
      parts: the run's parts.
      episodes: how many.
      model: the iterates, leaves with a leading axis of runs. Bare parameters or a query point are refused: evaluating
        those is the classic mistake.
      normalizer: observation statistics that belong to them, likewise.
      key: the same in every evaluation, and for every worker, for common random numbers.
      variation: how workers' environments differ, leaves [runs, workers]; with one, so many episodes are played in each
        of them.
      charge: what an episode earns for every step that it misses because the physics broke; by default nothing.
      asked: whether a run is evaluated; of one that is not no episode is played, and what is returned means nothing. By
        default all are.
      beside_training: whether it is in one program with training. Then it plays blocks of as many episodes in as many
        lanes, unless those are too few: what is alike in a program XLA compiles once, and that is the environment.

    Returns:
      The episodes in the order of workers and keys, the same on every device.

    Raises:
      TypeError: `model` is no Iterate.
    """
    if not isinstance(model, Iterate):
        raise TypeError(f"only an Iterate is evaluated, got a {type(model).__name__}")
    workers = 1 if variation is None else variation.gravity.shape[1]
    runs = jax.tree.leaves(model.params)[0].shape[0]
    asked = jnp.ones(runs, bool) if asked is None else asked
    me, devices = place_on(parts.axis)
    mine = -(-episodes * workers // devices)
    each, lanes = mine, min(max(parts.num_lanes[0], _LANES), runs * mine)
    if beside_training and parts.num_lanes[0] >= (_FEW_ON_CPU if parts.lanes_last else _LANES):
        each, lanes = parts.episodes * parts.method.plays, parts.num_lanes[0]

    def block(number: Array, played: list[Array]) -> list[Array]:
        own = number * each + jnp.arange(each)
        place = me * mine + own
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, place % episodes)
        worker = jnp.minimum(place // episodes, workers - 1)
        tasks = Tasks(
            keys=jnp.tile(keys, runs),
            active=jnp.outer(asked, (own < mine) & (place < episodes * workers)).reshape(-1),
            params=model.params,
            normalizer=normalizer,
            variation=flat(jax.vmap(of_workers, (0, None))(variation, worker)) if variation is not None else None,
            charge=jnp.zeros(runs) if charge is None else charge,
        )
        new, _ = play_only(parts.environment, parts.policy, tasks, parts.horizon, (lanes,), lanes_last=parts.lanes_last)
        columns = zip(played, (new.returns, new.lengths, new.diverged), strict=True)
        return [jax.lax.dynamic_update_slice(x, y.reshape(runs, each), (0, number * each)) for x, y in columns]

    blocks = -(-mine // each)
    nothing = [jnp.zeros((runs, blocks * each), kind) for kind in (jnp.float32, jnp.int32, bool)]
    played = jax.lax.fori_loop(0, jnp.where(asked.any(), blocks, 0), block, nothing)  # no reset where nobody asks
    return Episodes(*gather_over(parts.axis, [x[:, :mine] for x in played], axis=1))


def summarise(
    returns: Float[np.ndarray, " episodes"],
    lengths: Int[np.ndarray, " episodes"],
    diverged: Bool[np.ndarray, " episodes"],
    number: int,
    workers: int,
) -> dict[str, Any]:
    """Mean, deviation between episodes, mean length and how many broke the physics, as they stand in a record.

    Args:
      returns: returns of one run's episodes, on the host.
      lengths: likewise.
      diverged: likewise.
      number: number of episodes in each environment.
      workers: number of workers with an environment of their own; with more than one, the record has each one's mean
        too.
    """
    returns = returns[: number * workers].astype("float64").reshape(workers, number)
    record = {
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "episode_length_mean": float(lengths[: number * workers].astype("float64").mean()),
        "evaluation_diverged": int(diverged[: number * workers].sum()),
    }
    return record | ({"return_by_worker": returns.mean(axis=1).tolist()} if workers > 1 else {})
