r"""FedNPG: a logit for every state and action, exact values, mixing of logarithms of policies, and Q-tracking.

.. math::
    \log \pi^{t+1} &= W \left[ \left(1 - \tfrac{\eta \tau}{1 - \gamma}\right) \log \pi^t
        + \tfrac{\eta}{1 - \gamma} T^t \right] - \log z^t \\
    T^{t+1} &= W \left[ T^t + Q^{t+1} - Q^t \right]

with agent n's row of W for agent n, its own normaliser :math:`z^t_n(s)`, and :math:`Q^{t+1}_n` the values of its own
new policy with its own reward. Without tracking, T is Q.

References:
  Yang, Cen, Wei, Chen & Chi, `Federated Natural Policy Gradient and Actor Critic Methods for Multi-task Reinforcement
  Learning <https://arxiv.org/abs/2311.00201>`_, 2023, Algorithms 1 and 2
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.related.fednpg._world import World, action_values
from nigt_jax.related.tracking import mix


class Softmax(NamedTuple):
    """What agents keep.

    Attributes:
      log_policy: logarithm of each agent's policy.
      tracker: what each holds for the mean of all values.
      values: each agent's own.
    """

    log_policy: Float[Array, "agents states actions"]
    tracker: Float[Array, "agents states actions"]
    values: Float[Array, "agents states actions"]


def begin_softmax(world: World, log_policy: Float[Array, "agents states actions"], entropy: Array) -> Softmax:
    """Before the first iteration, with these policies."""
    values = own_values(world, log_policy, entropy)
    return Softmax(log_policy, values, values)


def softmax_step(
    state: Softmax,
    world: World,
    weights: Float[Array, "agents agents"],
    learning_rate: Array,
    entropy: Array,
    *,
    tracking: bool,
) -> Softmax:
    """One iteration of all agents."""
    rate = learning_rate / (1 - world.discount)
    stepped = (1 - rate * entropy) * state.log_policy + rate * state.tracker
    log_policy = jax.nn.log_softmax(mix(weights, stepped), axis=-1)
    values = own_values(world, log_policy, entropy)
    tracker = mix(weights, state.tracker + values - state.values) if tracking else values
    return Softmax(log_policy, tracker, values)


def own_values(
    world: World, log_policy: Float[Array, "agents states actions"], entropy: Array
) -> Float[Array, "agents states actions"]:
    """The values of every agent's own policy with its own reward."""
    return jax.vmap(lambda reward, own: action_values(world, reward, own, entropy))(world.rewards, log_policy)


def mean_policy(log_policy: Float[Array, "agents states actions"]) -> Float[Array, "states actions"]:
    """The logarithm of the policy that agents have together: the geometric mean, made to sum to 1."""
    return jax.nn.log_softmax(jnp.mean(log_policy, axis=0), axis=-1)
