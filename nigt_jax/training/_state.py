"""The state that every round replaces."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

from nigt_jax.methods import ServerState
from nigt_jax.policies import Normalizer


class TrainState(NamedTuple):
    """Everything that a round changes and a checkpoint keeps; all leaves have a leading axis of runs.

    Attributes:
      iteration: rounds done.
      server: query point, and the state of the update.
      normalizer: observation statistics, as of the last round.
      estimator: the estimator's own state, such as a value baseline.
      clock: simulated time, and what the workers are doing: a ClockState, or an ArrivalState where there are no rounds.
      lowest: reward of a step in any counted episode so far that did not break the physics; 0 where none was below.
      sent: what each worker was sent last, a Sent; () of a method with rounds, where it is the query point for all.
      workers: what each worker keeps, leaves with an axis of workers; () of a method whose workers keep nothing.
      seen: what rounds have shown, which decides the next M, a Seen; () of a method whose M is given.
      table: gradients that are collected for updates to come; () of a method that collects none.
      phase: what the rule of a method without rounds keeps of arrivals; () where that is nothing.
      key: root of all randomness of training; a round folds in its number, an episode its place in the round. Without
        rounds, a gradient folds in how many were absorbed before it.
    """

    iteration: Int[Array, ""]
    server: ServerState
    normalizer: Normalizer
    estimator: Any
    clock: Any
    lowest: Float[Array, ""]
    sent: Any
    workers: Any
    seen: Any
    table: Any
    phase: Any
    key: PRNGKeyArray


class Sent(NamedTuple):
    """What workers compute with until they have delivered: exactly what the server knew when it was sent.

    Attributes:
      params: query points; leaves have a leading axis of workers.
      normalizer: observation statistics, likewise.
      estimator: the estimator's own state, likewise.
      lowest: the lowest reward that was known, likewise.
      at: number of updates that the server had made by then; shape [workers].
    """

    params: Any
    normalizer: Normalizer
    estimator: Any
    lowest: Float[Array, " workers"]
    at: Int[Array, " workers"]


def all_finite(*trees: Any) -> Bool[Array, ""]:
    """Whether all real numbers of some trees are finite."""
    real = [x for x in jax.tree.leaves(trees) if jnp.issubdtype(x.dtype, jnp.floating)]
    return functools.reduce(jnp.logical_and, (jnp.isfinite(x).all() for x in real), jnp.ones([], bool))


def stream(seed: int | UInt[Array, ""], purpose: str) -> PRNGKeyArray:
    """The root key of one purpose. Without it, equal seeds of training and evaluation would share episodes."""
    return jax.random.fold_in(jax.random.key(seed), {"training": 0x7EA1, "evaluation": 0xE7A1}[purpose])
