"""Episodes at a cost that does not depend on how they go: every lane makes `horizon` steps, whatever has ended.

Where real time decides who is counted, whatever costs less when an episode is short favours short episodes. So here
nothing is skipped: what a lane computes after the end of its episode is thrown away.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from nigt_jax.policies import Policy
from nigt_jax.rollout._queue import Step, Tasks, advance, begin_all, charged
from nigt_jax.rollout._rollout import Trajectories, write_all


def begin_steady(environment: Any, policy: Policy, tasks: Tasks, horizon: int, *, lanes_last: bool) -> Any:
    """Every episode at its start, in a lane of its own; arguments as of :func:`nigt_jax.rollout.rollout`."""
    lanes = tasks.keys.shape[0]
    empty = Step(
        observation=jnp.zeros((horizon, lanes, policy.observation_size)),
        sample=jnp.zeros((horizon, lanes, policy.sample_size)),
        reward=jnp.zeros((horizon, lanes)),
    )
    return begin_all(environment, policy, tasks, horizon, write_all, empty, lanes_last=lanes_last)


def advance_steady(
    environment: Any, policy: Policy, tasks: Tasks, horizon: int, now: Any, steps: Int[Array, ""], *, lanes_last: bool
) -> Any:
    """So many steps more of every lane. There are `horizon` in all."""
    one = advance(environment, policy, tasks, horizon, write_all, lanes_last=lanes_last)
    return jax.lax.fori_loop(0, steps, lambda _, now: one(now), now)


def steady_trajectories(tasks: Tasks, horizon: int, chunk_size: int, now: Any) -> Trajectories:
    """The episodes, once all steps are made."""
    outcomes = charged(tasks, now.outcomes, horizon)
    return Trajectories(horizon, chunk_size, tasks.charge.size, outcomes, tasks.charge, now.computed, *now.record)
