"""Who does not learn: one that knows everything and decides for all, and one that knows nothing."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.related.dgpg.cloud import Cloud, CloudState


def greedy(cloud: Cloud, state: CloudState, key: PRNGKeyArray) -> tuple[Int[Array, " agents"], tuple[()]]:
    """One task after another goes where it adds least to the cost of the step, given those before it.

    A central dispatcher that knows every task, and the present cost as no agent does; it does not look ahead.
    """
    del key
    influence = cloud.influence(state.demand)

    def one(x: Float[Array, "servers 2"], z: Float[Array, "servers 2"]) -> tuple[Any, Int[Array, ""]]:
        over = lambda u: jnp.square(u) + cloud.settings.overload_weight * jnp.maximum(u - 1, 0)
        best = jnp.argmin(jnp.sum(over(x + z) - over(x), axis=1)).astype(jnp.int32)
        return x.at[best].add(z[best]), best

    return jax.lax.scan(one, state.load / cloud.capacity, influence)[1], ()


def random(cloud: Cloud, state: CloudState, key: PRNGKeyArray) -> tuple[Int[Array, " agents"], tuple[()]]:
    """Any server with the same probability."""
    del state
    return jax.random.randint(key, (cloud.agents,), 0, cloud.agents, jnp.int32), ()


def rivals(cloud: Cloud) -> dict[str, Any]:
    """All of them by name, as :mod:`nigt_jax.related.dgpg.episodes` has them act."""
    return {name: functools.partial(act, cloud) for name, act in (("greedy", greedy), ("random", random))}
