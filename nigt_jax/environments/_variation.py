"""Environments that differ from worker to worker: the same task with other physics, rewards or signs."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nigt_jax.config import EnvironmentChange, WorkersConfig
from nigt_jax.environments._actions import action_space
from nigt_jax.environments._attributes import set_attributes
from nigt_jax.environments._brax import System


class Variation(NamedTuple):
    """How an environment differs from the one that it is made of: factors, 1 for no difference. May be traced.

    Attributes:
      gravity: factor of gravity.
      mass: factor of the mass and inertia of every body.
      friction: factor of the friction of every geometry.
      gain: factor of the force of every actuator.
      reward: factors of the environment's own reward weights, by name.
      flip: 1 where observations change their sign, 0 where they do not; an observation ends with this bit. None where
        it is the same everywhere, and there is no such bit.
    """

    gravity: Float[Array, "*workers"]
    mass: Float[Array, "*workers"]
    friction: Float[Array, "*workers"]
    gain: Float[Array, "*workers"]
    reward: dict[str, Float[Array, "*workers"]]
    flip: Float[Array, "*workers"] | None


class Varied:
    """An environment with a variation. Speaks Brax's interface, without wrappers."""

    def __init__(self, environment: Any, variation: Variation):
        actions = action_space(environment)
        setattr(self, "num_actions" if actions.discrete else "action_size", actions.size)
        self._flip = variation.flip
        weights = reward_weights(environment)
        changes: dict[str, Any] = {
            weights[name]: getattr(environment, weights[name]) * factor for name, factor in variation.reward.items()
        }
        if has_physics(environment):
            changes["sys"] = vary_system(environment.sys, variation)
        self._environment = set_attributes(copy.copy(environment), changes)

    def reset(self, key: Array) -> Any:
        """A fresh start."""
        return self._seen(self._environment.reset(key))

    def step(self, state: Any, action: Array) -> Any:
        """One step."""
        if self._flip is not None:
            state = _with_observation(state, state.obs[:-1] * (1 - 2 * self._flip))
        return self._seen(self._environment.step(state, action))

    def _seen(self, state: Any) -> Any:
        if self._flip is None:
            return state
        bit = self._flip.astype(state.obs.dtype)
        return _with_observation(state, jnp.append(state.obs * (1 - 2 * bit), bit))


def _with_observation(state: Any, observation: Array) -> Any:
    return (
        state._replace(obs=observation) if hasattr(state, "_replace") else dataclasses.replace(state, obs=observation)
    )


def reward_weights(environment: Any) -> dict[str, str]:
    """Names of the environment's reward weights, and the attributes that hold them: ``_NAME``, or else ``NAME``."""
    named = [name for name in dir(environment) if name.endswith(("_weight", "_reward"))]  # also those of its class
    held = [name for name in named if isinstance(getattr(environment, name, None), int | float)]
    return {name.removeprefix("_"): name for name in sorted(held, key=lambda name: name.startswith("_"))}


def has_physics(environment: Any) -> bool:
    """Whether it has constants of Brax's physics that can be varied."""
    return isinstance(getattr(environment, "sys", None), System)


def vary_system(system: Any, variation: Variation) -> Any:
    """The physics with other constants, both those of Brax's own pipelines and those of MJX."""
    gravity, mass = variation.gravity, variation.mass
    inertia = system.link.inertia
    return system.replace(
        gravity=system.gravity * gravity,
        opt=system.opt.replace(gravity=system.opt.gravity * gravity),
        link=system.link.replace(inertia=inertia.replace(mass=inertia.mass * mass, i=inertia.i * mass)),
        body_mass=system.body_mass * mass,
        body_subtreemass=system.body_subtreemass * mass,
        body_inertia=system.body_inertia * mass,
        body_invweight0=system.body_invweight0 / mass,
        dof_M0=system.dof_M0 * mass,
        dof_invweight0=system.dof_invweight0 / mass,
        geom_friction=system.geom_friction * variation.friction,
        actuator=system.actuator.replace(gear=system.actuator.gear * variation.gain),
        actuator_gear=system.actuator_gear * variation.gain,
    )


def of_workers(variation: Variation | None, worker: Any) -> Variation | None:
    """The variations of these workers, one a lane; None where workers do not differ."""
    return jax.tree.map(lambda x: x[worker], variation)


def make_variation(workers: WorkersConfig) -> Variation | None:
    """How workers' environments differ, or None; where changes meet in one worker, their factors multiply."""
    if not workers.environments:
        return None

    def factors(of: Callable[[EnvironmentChange], float]) -> Array:
        values = np.ones(workers.count, np.float32)
        for change in workers.environments:
            values[np.asarray(change.workers, int) - 1] *= of(change)
        return jnp.asarray(values)

    def weight(name: str, change: EnvironmentChange) -> float:
        return change.reward.get(name, 1.0)

    names = sorted({name for change in workers.environments for name in change.reward})
    flips = any(change.flip_observation for change in workers.environments)
    return Variation(
        gravity=factors(lambda change: change.gravity),
        mass=factors(lambda change: change.mass),
        friction=factors(lambda change: change.friction),
        gain=factors(lambda change: change.actuator_gain),
        reward={name: factors(functools.partial(weight, name)) for name in names},
        flip=(1 - factors(lambda change: -1.0 if change.flip_observation else 1.0)) / 2 if flips else None,
    )
