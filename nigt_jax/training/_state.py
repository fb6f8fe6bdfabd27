"""The state that every round replaces."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from nigt_jax.clocks import begin_arrivals
from nigt_jax.methods import ArrivalMethod, ServerState, start
from nigt_jax.rollout import Normalizer
from nigt_jax.training._parts import Parts
from nigt_jax.training._settings import Settings


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
      key: root of all randomness of training; a round folds in its number, an episode its place in the round.
    """

    iteration: Int[Array, ""]
    server: ServerState
    normalizer: Normalizer
    estimator: Any
    clock: Any
    lowest: Float[Array, ""]
    sent: Any
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


def initial_state(parts: Parts, settings: Settings, seeds: UInt[Array, " runs"]) -> TrainState:
    """The state of every run before its first round."""
    return jax.vmap(functools.partial(_initial_state, parts))(settings, seeds)


def _initial_state(parts: Parts, settings: Settings, seed: UInt[Array, ""]) -> TrainState:
    policy_key, estimator_key, key = jax.random.split(stream(seed, "training"), 3)
    params, normalizer = parts.policy.init(policy_key), parts.policy.init_normalizer()
    estimator = parts.estimator.init(estimator_key, parts.policy.observation_size)
    clock, clock_key = settings.clock, stream(seed, "clock")
    zero = jnp.zeros([], jnp.int32)
    arrivals = isinstance(parts.method, ArrivalMethod)
    to_all = lambda tree: jax.tree.map(lambda x: jnp.broadcast_to(x, (clock.workers, *x.shape)), tree)
    return TrainState(
        iteration=zero,
        server=start(parts.method, params, settings.step),
        normalizer=normalizer,
        estimator=estimator,
        clock=begin_arrivals(clock, clock_key) if arrivals else clock.begin(clock_key),
        lowest=jnp.zeros([]),
        sent=Sent(*to_all((params, normalizer, estimator, jnp.zeros([]), zero))) if arrivals else (),
        key=key,
    )


def stream(seed: int | UInt[Array, ""], purpose: str) -> PRNGKeyArray:
    """The root key of one purpose. Without it, equal seeds of training and evaluation would share episodes."""
    return jax.random.fold_in(
        jax.random.key(seed), {"training": 0x7EA1, "evaluation": 0xE7A1, "clock": 0xC10C}[purpose]
    )
