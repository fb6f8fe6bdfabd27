"""Access control: users with packets that expire, and access points that hear one user at a time."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.config.systems import AccessNetwork
from nigt_jax.related.rec_marl.model import Model


class Points(NamedTuple):
    """Access points and their users.

    Attributes:
      served: [j, i]: whether point j serves user i.
      reliability: probability that a point delivers what it receives.
      target: [i, a]: the point that user i addresses by action a; -1 where it is silent or has no such action.
    """

    served: Bool[np.ndarray, "points users"]
    reliability: Float[np.ndarray, " points"]
    target: Int[np.ndarray, "users actions"]


def make_points(network: AccessNetwork, rng: np.random.Generator) -> Points:
    """Those of the settings. Action 0 is silent, 1 is a user's first point, 2 its second one."""
    served = np.array([[i in users for i in range(network.users)] for users in network.served])
    points_of = network.points_of
    target = np.full((network.users, 1 + max(map(len, points_of))), -1, np.int32)
    for user, points in enumerate(points_of):
        target[user, 1 : 1 + len(points)] = points
    reliability = rng.uniform(network.least_reliability, network.most_reliability, network.points)
    return Points(served, reliability, target)


def access_model(network: AccessNetwork, points: Points) -> Model:
    """Users' packets, of which bit d of a state says whether there is one with d + 1 steps left.

    A user sends the packet that expires first. It then leaves, delivered or not, so that states move by themselves.
    A user without a packet is silent, whatever it does. A point delivers, with its reliability, what comes from
    one user alone; reward is 1 for a packet delivered. Users are neighbours where they share a point.
    """
    users, actions = points.target.shape
    states = 2**network.deadline
    kernel = np.zeros((states, actions, states))
    for state in range(states):
        for action in range(actions):
            left = state & (state - 1) if action else state  # without its lowest bit
            kernel[state, action, left >> 1] += 1 - network.arrival
            kernel[state, action, left >> 1 | states >> 1] += network.arrival
    first = np.zeros(states)
    first[[0, states >> 1]] = 1 - network.arrival, network.arrival
    return Model(
        neighbours=(points.served.T.astype(int) @ points.served.astype(int)) > 0,
        actions=(points.target >= 0).sum(1) + 1,
        first=np.broadcast_to(first, (users, states)),
        kernel=np.broadcast_to(kernel, (users, *kernel.shape)),
        reward=lambda states, actions: deliveries(points, states, actions),
        draw=lambda chances, expected: (chances < expected).astype(expected.dtype),
    )


def deliveries(points: Points, states: Int[Array, " users"], actions: Int[Array, " users"]) -> Float[Array, " users"]:
    """Probabilities that users' packets are delivered."""
    number, users = points.served.shape
    target = jnp.where(states > 0, jnp.asarray(points.target)[np.arange(users), actions], -1)
    addressed = target[None, :] == np.arange(number, dtype=np.int32)[:, None]
    alone = addressed & (addressed.sum(1, keepdims=True) == 1)
    return jnp.sum(jnp.where(alone, points.reliability[:, None], 0.0), axis=0)


def aloha(points: Points, states: int, send: Float[Array, ""]) -> Float[Array, "users states actions"]:
    """Policies that send the packet that expires first with one probability, whoever and whichever it is.

    A user of several points chooses among them in proportion to their reliability, divided by the users served.
    """
    worth = points.reliability / points.served.sum(1)
    weights = np.where(points.target >= 0, worth[points.target], 0.0)[:, 1:]
    sending = jnp.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-300)) * send
    there = jnp.arange(states)[None, :, None] > 0
    shares = jnp.where(there, sending[:, None, :], 0.0)
    return jnp.concatenate([1 - shares.sum(-1, keepdims=True), shares], axis=-1)
