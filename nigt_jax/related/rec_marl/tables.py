"""One table for every agent, with an entry for each thing that its neighbourhood can be in and do."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.related.rec_marl.model import Model


class Tables(NamedTuple):
    """Where entries are in one vector, which has the agents' tables one after the other.

    What agent k is in and does has the number z_k = s_k A_k + a_k. Agent i's entry of joint z is at ``offsets[i] +
    strides[i] @ z``; its strides are 0 for those who are not its neighbours.

    Attributes:
      kinds: numbers S A_k of what an agent can be in and do.
      offsets: where an agent's table begins.
      strides: [i, k]: how far one more of z_k is in agent i's table.
      entries: of all tables.
    """

    kinds: Int[np.ndarray, " agents"]
    offsets: Int[np.ndarray, " agents"]
    strides: Int[np.ndarray, "agents agents"]
    entries: int

    def members(self, agent: int) -> list[int]:
        """An agent's neighbourhood, in the order of its table's axes."""
        return [int(k) for k in np.flatnonzero(self.strides[agent])]

    def shape(self, agent: int) -> tuple[int, ...]:
        """A table's axes, one for every member."""
        return tuple(int(self.kinds[k]) for k in self.members(agent))


def make_tables(model: Model) -> Tables:
    """The layout of a model's tables.

    Raises:
      ValueError: of two agents one is the other's neighbour alone, or an agent is not its own.
    """
    if not (model.neighbours == model.neighbours.T).all() or not model.neighbours.diagonal().all():
        raise ValueError("neighbourhoods: got some of one direction, or without the agent; allowed: neither")
    kinds = model.first.shape[1] * model.actions.astype(np.int64)
    strides = np.zeros(model.neighbours.shape, np.int64)
    for i in range(model.agents):
        members = np.flatnonzero(model.neighbours[i])
        strides[i, members] = np.cumprod([1, *kinds[members][:0:-1]])[::-1]  # the last member moves fastest
    sizes = [math.prod(map(int, kinds[model.neighbours[i]])) for i in range(model.agents)]
    *offsets, entries = itertools.accumulate(sizes, initial=0)
    return Tables(kinds, np.array(offsets, np.int32), strides.astype(np.int32), entries)


def entry(
    tables: Tables, model: Model, states: Int[Array, " agents"], actions: Int[Array, " agents"]
) -> Int[Array, " agents"]:
    """Every agent's entry of this joint state and action."""
    numbers = states * model.actions.astype(np.int32) + actions
    return jnp.asarray(tables.strides) @ numbers + tables.offsets


def expected_rewards(tables: Tables, model: Model) -> list[Float[Array, "..."]]:
    """Every agent's expected reward, as a table with an axis for each member of its neighbourhood."""
    rewards = jax.jit(jax.vmap(model.reward))  # compiled once for tables of one size
    found = []
    for agent in range(model.agents):
        shape = tables.shape(agent)
        numbers = np.zeros((math.prod(shape), model.agents), np.int32)  # others: state 0 and action 0, as good as any
        numbers[:, tables.members(agent)] = np.stack(np.unravel_index(np.arange(len(numbers)), shape), axis=1)
        states, actions = np.divmod(numbers, model.actions.astype(np.int32))
        found.append(rewards(states, actions)[:, agent].reshape(shape))
    return found
