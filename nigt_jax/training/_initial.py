"""The state before the first round."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

from nigt_jax.clocks import clock_key
from nigt_jax.methods import Arrivals, nothing_seen, start
from nigt_jax.training._engines import engine_of
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import Sent, TrainState, stream


def initial_state(parts: Parts, hyperparameters: Hyperparameters, seeds: UInt[Array, " runs"]) -> TrainState:
    """The state of every run before its first round."""
    return jax.vmap(functools.partial(_initial_state, parts))(hyperparameters, seeds)


def _initial_state(parts: Parts, hyperparameters: Hyperparameters, seed: UInt[Array, ""]) -> TrainState:
    policy_key, estimator_key, key = jax.random.split(stream(seed, "training"), 3)
    params, normalizer = parts.policy.init(policy_key), parts.policy.init_normalizer()
    estimator = parts.estimator.init(estimator_key, parts.policy.observation_size)
    clock, zero = hyperparameters.clock, jnp.zeros([], jnp.int32)

    def to_all(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (clock.workers, *x.shape)), tree)

    engine, worker = engine_of(parts.method), parts.method.worker
    table, phase = _collected(parts.method.schedule, params, hyperparameters)
    sent = Sent(*to_all((params, normalizer, estimator, jnp.zeros([]), zero))) if engine.snapshots else ()
    return TrainState(
        iteration=zero,
        server=start(parts.method, params, hyperparameters.step),
        normalizer=normalizer,
        estimator=estimator,
        clock=engine.begin(clock, clock_key(seed)),
        lowest=jnp.zeros([]),
        sent=sent,
        workers=() if worker is None else to_all(worker.init(params, hyperparameters.step)),
        seen=nothing_seen(clock.workers) if parts.method.adapts else (),
        table=table,
        phase=phase,
        key=key,
    )


def _collected(schedule: Any, params: Any, hyperparameters: Hyperparameters) -> tuple[Any, Any]:
    """The table, and what its rule keeps, where gradients arrive one at a time; otherwise there are none."""
    if not isinstance(schedule, Arrivals):
        return (), ()
    workers = hyperparameters.clock.workers
    return schedule.table.begin(params, workers), schedule.rule(hyperparameters.step).begin(workers)
