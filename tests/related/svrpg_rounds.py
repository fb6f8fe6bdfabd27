"""Rounds of SVRPG with tracking as the package makes them, in small configurations."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nigt_jax.config.systems import (
    GraphConfig,
    NetworkConfig,
    ReductionConfig,
    SvrpgTrackingConfig,
    TabularTask,
    agents,
)
from nigt_jax.related import graph
from nigt_jax.related.svrpg_tracking import Tabular, begin_agents, estimate, exchange, random_mdp
from nigt_jax.related.svrpg_tracking._estimate import begin_reference
from nigt_jax.related.svrpg_tracking._network import tracker_error

KEY = jax.random.key(5)


def configured(count=4, tracking=True, links="ring", penalty=0.1, learning_rate=0.3, **estimator):
    """A small run; the step is large, so that weights are far from 1."""
    return SvrpgTrackingConfig(
        task=TabularTask(states=3, actions=2, horizon=4, penalty=penalty),
        estimator=ReductionConfig(**({"batch": 3, "snapshot_batch": 8, "period": 4} | estimator)),
        network=NetworkConfig(learning_rate=learning_rate, tracking=tracking),
        graph=GraphConfig(kind=links),
        workers=agents(count),
    )


class Played(NamedTuple):
    """Rounds of a run; leaves have a leading axis of them."""

    task: Any
    before: Any
    after: Any
    found: Any
    trackers: Any


def run(config, task, params, rounds):
    """Estimates and exchanges, all rounds in one scan, without clock and counters: those are long to compile."""
    weights = graph.metropolis(graph.ring(task.agents))

    def one(carry, iteration):
        agents, reference = carry
        key = jax.random.fold_in(KEY, iteration)
        found = estimate(task, config.estimator, agents.params, reference, iteration, key)
        after = exchange(weights, config.network, agents, found.value)
        return (after, found.reference), (agents, after, found, tracker_error(after))

    begun = begin_agents(params), begin_reference(config.estimator, params)
    return Played(task, *jax.jit(lambda begun: jax.lax.scan(one, begun, jnp.arange(rounds))[1])(begun))


@functools.cache
def played(config):
    """Eight rounds on the process of the configuration."""
    task = Tabular(config.task, random_mdp(config.task, config.workers.count, config.seed))
    return run(config, task, task.begin(KEY), 8)
