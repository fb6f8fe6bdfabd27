r"""What agents on a network make of their estimates.

Each tracks the mean of all agents' estimates, and steps along what it tracks from where its neighbours are:

.. math::
    y_i \leftarrow \sum_j W_{ij} y_j + v_i - v_i^{\text{old}}, \qquad
    \theta_i \leftarrow \sum_j W_{ij} \theta_j + \alpha y_i

With W doubly stochastic the mean of y is that of v after every round, and the mean of theta moves by alpha times it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nigt_jax.config.systems import NetworkConfig
from nigt_jax.related.tracking import mix, track


class Agents(NamedTuple):
    """What agents have; leaves have a leading axis of agents.

    Attributes:
      params: parameters theta.
      tracker: what each believes the mean gradient to be, y; its own estimate where nothing is tracked.
      value: its newest estimate of its own gradient, v.
    """

    params: Any
    tracker: Any
    value: Any


def begin_agents(params: Any) -> Agents:
    """Before the first round. Zeros, so that trackers are the first estimates after it."""
    nothing = jax.tree.map(jnp.zeros_like, params)
    return Agents(params, nothing, nothing)


def exchange(weights: np.ndarray, network: NetworkConfig, agents: Agents, value: Any) -> Agents:
    """Agents after a round.

    Args:
      weights: the doubly stochastic W, on the host.
      network: its section.
      agents: what they had.
      value: their new estimates.
    """
    mixing = jnp.asarray(weights, jax.tree.leaves(agents.params)[0].dtype)
    tracker = track(mixing, agents.tracker, value, agents.value) if network.tracking else value
    params = jax.tree.map(lambda x, y: x + network.learning_rate * y, mix(mixing, agents.params), tracker)
    return Agents(params, tracker, value)


def mean_of(tree: Any) -> Any:
    """The mean over agents."""
    return jax.tree.map(lambda x: x.mean(0), tree)


def disagreement(params: Any) -> Float[Array, ""]:
    """Mean over agents of the squared distance from the mean of all."""
    squares = jax.tree.map(lambda x: jnp.sum(jnp.square(x - x.mean(0, keepdims=True))) / x.shape[0], params)
    return jnp.stack(jax.tree.leaves(squares)).sum()


def tracker_error(agents: Agents) -> Float[Array, ""]:
    """How far the mean of what agents track is from the mean of their estimates, in any coordinate."""
    apart = jax.tree.map(lambda y, v: jnp.abs(y.mean(0) - v.mean(0)).max(), agents.tracker, agents.value)
    return jnp.stack(jax.tree.leaves(apart)).max()
