"""What the driver computes: the update from what workers have sent, and whether that can be right."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt

from nigt_jax.clocks import SimulatedTime, time_zero
from nigt_jax.methods import ServerState, ask, start, tell
from nigt_jax.policies import Normalizer, update_statistics
from nigt_jax.training import Assignment, Hyperparameters, Parts, Unit, stream


class ClusterState(NamedTuple):
    """Everything that a checkpoint keeps; leaves have a leading axis of runs, of which there is one.

    Attributes:
      iteration: rounds, or updates, done.
      server: query point, and the state of the update.
      normalizer: observation statistics.
      lowest: reward of a step in any counted episode that did not break the physics; 0 where none was below.
      elapsed: seconds in rounds.
      orders: number of orders that were given, so that no key is used twice.
      workers: what each worker keeps, as far as the server has absorbed it, leaves [runs, workers, ...]; () where
        workers keep nothing.
    """

    iteration: Int[Array, " runs"]
    server: ServerState
    normalizer: Normalizer
    lowest: Float[Array, " runs"]
    elapsed: SimulatedTime
    orders: Int[Array, " runs"]
    workers: Any = ()


def begin_cluster(parts: Parts, hyperparameters: Hyperparameters, seed: UInt[Array, ""]) -> ClusterState:
    """The state before the first round; the policy is that of the same seed on a simulated clock."""
    policy_key, _, _ = jax.random.split(stream(seed, "training"), 3)
    zero, params = jnp.zeros([], jnp.int32), parts.policy.init(policy_key)
    state = ClusterState(
        iteration=zero,
        server=start(parts.method, params, hyperparameters.step),
        normalizer=parts.policy.init_normalizer(),
        lowest=jnp.zeros([]),
        elapsed=time_zero(),
        orders=zero,
        workers=workers_at_first(parts, params, hyperparameters),
    )
    return jax.tree.map(lambda x: x[None], state)


def workers_at_first(parts: Parts, params: Any, hyperparameters: Hyperparameters) -> Any:
    """What workers keep before the first round, leaves [workers, ...]; () where they keep nothing."""
    side = parts.method.worker
    if side is None:
        return ()
    one, count = side.init(params, hyperparameters.step), hyperparameters.clock.workers
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), one)


@functools.partial(jax.jit, static_argnums=0)
def absorb(
    parts: Parts, state: ClusterState, step: Any, total: Unit, weight: Float[Array, ""]
) -> tuple[ClusterState, Float[Array, ""]]:
    """The state after one update, but for time and orders, and the norm of the direction that was absorbed.

    Args:
      parts: the run's parts.
      state: before.
      step: hyperparameters of this update.
      total: what workers have sent, together; of gradients the weighted sum.
      weight: the sum of the weights.
    """
    own: ClusterState = jax.tree.map(lambda x: x[0], state)
    server, norm = tell(parts.method, own.server, step, total.gradient, weight, None)
    seen = parts.policy.normalize
    after = own._replace(
        iteration=own.iteration + 1,
        server=server,
        normalizer=update_statistics(own.normalizer, total.statistics) if seen else own.normalizer,
        lowest=jnp.minimum(own.lowest, total.lowest),
    )
    return jax.tree.map(lambda x: x[None], after), norm


def assignment_of(parts: Parts, state: ClusterState, hyperparameters: Hyperparameters, step: Any) -> Assignment:
    """What workers compute with, on the host; `step` are the hyperparameters of the next update."""
    return jax.device_get(_assignment(parts, state, hyperparameters, step))


@functools.partial(jax.jit, static_argnums=0)
def _assignment(parts: Parts, state: ClusterState, hyperparameters: Hyperparameters, step: Any) -> Assignment:
    own: ClusterState = jax.tree.map(lambda x: x[0], state)
    charge, side = hyperparameters.charge(own.lowest), parts.method.worker
    told = () if side is None else (side.told(own.server), step)
    return Assignment(ask(own.server).params, own.normalizer, charge, told)


def fault_of(unit: Any, like: Any) -> str | None:
    """What is wrong with what a worker has sent, in a clause; None where nothing is.

    Args:
      unit: what it has sent.
      like: something of the right structure, shapes and dtypes, such as ShapeDtypeStructs.
    """
    shapes = lambda tree: [(tuple(x.shape), str(x.dtype)) for x in jax.tree.leaves(tree)]
    structure: Any = jax.tree.structure
    if not isinstance(unit, Unit) or structure(unit) != structure(like):
        return "is no gradient of this policy"
    if shapes(unit) != shapes(like):
        return "has another shape than the policy"
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(unit)):
        return "has numbers that are not finite"
    return None
