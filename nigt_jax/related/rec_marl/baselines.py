"""What learners are compared with: the best ALOHA, the best joint levels of power, and what selfish links settle on."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.related.rec_marl.access import Points, aloha
from nigt_jax.related.rec_marl.tables import Tables

_TRIED = 20


class BestAloha(NamedTuple):
    """Of the probabilities that were tried, the best one.

    Attributes:
      send: the probability of sending a packet.
      value: what its policies are worth.
    """

    send: float
    value: float


def best_aloha(
    points: Points, states: int, worth: Callable[[Float[Array, "users states actions"]], Array]
) -> BestAloha:
    """The best of 20 probabilities, evenly up to 1.

    Args:
      points: access points and their users.
      states: of a user.
      worth: what policies are worth.
    """
    send = jnp.arange(1, _TRIED + 1) / _TRIED
    values = jax.jit(lambda send: jax.lax.map(lambda p: worth(aloha(points, states, p)), send))(send)
    best = int(jnp.argmax(values))
    return BestAloha(float(send[best]), float(values[best]))


class JointLevels(NamedTuple):
    """Levels of power of all links, and the mean of their utilities.

    Attributes:
      levels: one for every link.
      value: mean utility of a link in a step.
    """

    levels: Int[np.ndarray, " links"]
    value: float


class Search(NamedTuple):
    """What trying all joint levels has shown.

    Attributes:
      best: those of the largest mean utility.
      equilibria: those that no link leaves by itself, the best first; may be none.
    """

    best: JointLevels
    equilibria: list[JointLevels]


def search_levels(tables: Tables, rewards: list[Float[Array, "..."]], levels: int) -> Search:
    """Tries all joint levels of power.

    Args:
      tables: the layout of the links' tables.
      rewards: their utilities, tables with an axis for each member of a neighbourhood.
      levels: of a link.
    """
    links = len(rewards)
    total, settled = np.zeros((levels,) * links), np.ones((levels,) * links, bool)
    for link, table in enumerate(rewards):
        members = tables.members(link)
        each = np.asarray(table).reshape((levels, 3) * len(members))
        utility = each[(slice(None), 0) * len(members)]  # the same for every action
        content = utility >= utility.max(members.index(link), keepdims=True) - 1e-12
        aside = tuple(k for k in range(links) if k not in members)
        total += np.expand_dims(utility, aside)
        settled &= np.expand_dims(content, aside)

    def joint(place: Int[np.ndarray, " links"]) -> JointLevels:
        return JointLevels(place, float(total[tuple(place)]) / links)

    best = joint(np.array(np.unravel_index(total.argmax(), total.shape)))
    return Search(best, sorted(map(joint, np.argwhere(settled)), key=lambda found: -found.value))
