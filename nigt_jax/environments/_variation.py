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
from nigt_jax.environments._brax import Model, System
from nigt_jax.environments._observed import observed, with_observed
from nigt_jax.environments._playground import playground_randomizer
from nigt_jax.errors import UserError
from nigt_jax.imports import import_named

_PLACES = "sys", "_mjx_model"


@functools.partial(jax.tree_util.register_dataclass, data_fields=["seed"], meta_fields=["randomizer"])
@dataclasses.dataclass(frozen=True)
class Drawn:
    """Physics that a domain randomiser draws.

    Attributes:
      seed: of each worker's draw.
      randomizer: maps (model, keys of shape [n]) to (model, in_axes), as Brax and MuJoCo Playground have them: the
        leaves of which in_axes is 0 have a leading axis of n.
    """

    seed: Any  # UInt32[*workers]; JAX also builds trees whose leaves stand for arrays and are none
    randomizer: Callable[[Any, Any], tuple[Any, Any]]

    def draw(self, model: Any) -> Any:
        """The model of one worker."""
        models, axes = self.randomizer(model, jax.random.key(self.seed)[None])
        one = lambda axis, value: value if axis is None else jax.tree.map(lambda x: x[0], value)
        return jax.tree.map(one, axes, models, is_leaf=lambda axis: axis is None)


class Variation(NamedTuple):
    """How an environment differs from the one that it is made of: factors, 1 for no difference. May be traced.

    Attributes:
      gravity: factor of gravity.
      mass: factor of the mass and inertia of every body.
      friction: factor of the friction of every geometry.
      gain: factor of the force of every actuator.
      reward: factors of the environment's own reward weights, by name.
      drawn: a number for each worker that its physics are drawn from, and the function that draws them. None where
        nothing is drawn.
      flip: 1 where observations change their sign, 0 where they do not; an observation ends with this bit. None where
        it is the same everywhere, and there is no such bit.
    """

    gravity: Float[Array, "*workers"]
    mass: Float[Array, "*workers"]
    friction: Float[Array, "*workers"]
    gain: Float[Array, "*workers"]
    reward: dict[str, Float[Array, "*workers"]]
    flip: Float[Array, "*workers"] | None
    drawn: Drawn | None = None


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
        if (place := place_of_physics(environment)) is not None:
            changes[place] = vary_physics(getattr(environment, place), variation)
        self._environment = set_attributes(copy.copy(environment), changes)

    def reset(self, key: Array) -> Any:
        """A fresh start."""
        return self._seen(self._environment.reset(key))

    def step(self, state: Any, action: Array) -> Any:
        """One step."""
        if self._flip is not None:
            state = with_observed(state, observed(state)[:-1] * (1 - 2 * self._flip))
        return self._seen(self._environment.step(state, action))

    def _seen(self, state: Any) -> Any:
        if self._flip is None:
            return state
        seen = observed(state)
        bit = self._flip.astype(seen.dtype)
        return with_observed(state, jnp.append(seen * (1 - 2 * bit), bit))


def reward_weights(environment: Any) -> dict[str, str]:
    """Names of the environment's reward weights, and the attributes that hold them: ``_NAME``, or else ``NAME``."""
    named = [name for name in dir(environment) if name.endswith(("_weight", "_reward"))]  # also those of its class
    held = [name for name in named if isinstance(getattr(environment, name, None), int | float)]
    return {name.removeprefix("_"): name for name in sorted(held, key=lambda name: name.startswith("_"))}


def place_of_physics(environment: Any) -> str | None:
    """The attribute that holds the constants of its physics: Brax's ``sys``, or a model of MJX as Playground's have."""
    return next((name for name in _PLACES if isinstance(getattr(environment, name, None), Model)), None)


def vary_physics(model: Any, variation: Variation) -> Any:
    """The physics with other constants, both those of Brax's own pipelines and those of MJX."""
    gravity, mass = variation.gravity, variation.mass
    if variation.drawn is not None:
        model = variation.drawn.draw(model)
    model = model.replace(
        opt=model.opt.replace(gravity=model.opt.gravity * gravity),
        body_mass=model.body_mass * mass,
        body_subtreemass=model.body_subtreemass * mass,
        body_inertia=model.body_inertia * mass,
        body_invweight0=model.body_invweight0 / mass,
        dof_M0=model.dof_M0 * mass,
        dof_invweight0=model.dof_invweight0 / mass,
        geom_friction=model.geom_friction * variation.friction,
        actuator_gear=model.actuator_gear * variation.gain,
    )
    if not isinstance(model, System):
        return model
    inertia = model.link.inertia
    return model.replace(
        gravity=model.gravity * gravity,
        link=model.link.replace(inertia=inertia.replace(mass=inertia.mass * mass, i=inertia.i * mass)),
        actuator=model.actuator.replace(gear=model.actuator.gear * variation.gain),
    )


def of_workers(variation: Variation | None, worker: Any) -> Variation | None:
    """The variations of these workers, one a lane; None where workers do not differ."""
    return jax.tree.map(lambda x: x[worker], variation)


def make_variation(workers: WorkersConfig) -> Variation | None:
    """How workers' environments differ, or None; where changes meet in one worker, their factors multiply."""
    if not workers.differ:
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
        drawn=None if workers.randomizer is None else _drawn(workers, workers.randomizer),
    )


def _drawn(workers: WorkersConfig, name: str) -> Drawn:
    if name.startswith("playground:"):
        randomizer = playground_randomizer(name.removeprefix("playground:"))
    else:
        randomizer = import_named("workers.randomizer", name)
    if not callable(randomizer):
        raise UserError(f"workers.randomizer: {name} is {randomizer}, allowed: a function of a model and keys")
    seeds = np.random.SeedSequence(workers.randomizer_seed).generate_state(workers.count)
    return Drawn(jnp.asarray(seeds, jnp.uint32), randomizer)
