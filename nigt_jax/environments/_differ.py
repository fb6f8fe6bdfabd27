"""Whether workers' environments differ by what they are told to: a factor of which nothing depends is a mistake."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.environments._actions import action_space
from nigt_jax.environments._check import traced
from nigt_jax.environments._flow import Sources, flow, until_stable
from nigt_jax.environments._observed import observed
from nigt_jax.environments._variation import Drawn, Variation, Varied, place_of_physics, reward_weights, vary_physics
from nigt_jax.errors import UserError
from nigt_jax.imports import said

RANDOMIZER = "a randomizer"
_NAMES = {"gravity": "gravity", "mass": "mass", "friction": "friction", "gain": "actuator_gain"}


def check_variation(environment: Any, variation: Variation) -> None:
    """Checks that every factor of the variation makes a difference to what a policy sees or earns.

    What cannot be told without playing is left: a friction of bodies that never touch.

    Args:
      environment: the one that all others are made of.
      variation: leaves with a leading axis of workers.

    Raises:
      UserError: a reward weight that the environment does not have; a factor other than 1 that changes no constant of
        its physics, or on which neither observations nor rewards nor ends depend.
    """
    weights = reward_weights(environment)
    for name in variation.reward:
        if name not in weights:
            has = ", ".join(sorted(weights)) or "none"
            raise UserError(f"workers.environments: got reward weight {name}, this environment has: {has}")
    _check_masses(environment, variation)
    factors = _named(variation._replace(flip=None, drawn=None))
    asked = [name for name, factor in factors if bool(jnp.any(factor != 1))]
    for name in asked:
        if (why := _nothing_to_change(environment, name)) is not None:
            raise UserError(f"workers.environments: got {name}, which makes no difference: {why}")
    if variation.drawn is not None:
        _check_randomizer(environment, variation.drawn)
        asked = [*asked, RANDOMIZER]
    felt = _felt(environment, variation) if asked else frozenset()
    for name in asked:
        if name not in felt:
            raise UserError(
                f"workers.environments: got {name}, which makes no difference: in {type(environment).__name__} neither "
                "observations nor rewards nor ends depend on it"
            )


def _named(variation: Variation) -> list[tuple[str, Any]]:
    """Its leaves in their order, with the names that messages use."""

    def name(field: Any, *inner: Any) -> str:
        if field.name == "drawn":
            return RANDOMIZER
        return f"reward weight {inner[0].key}" if inner else _NAMES.get(field.name, field.name)

    return [(name(*path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variation)]


def _check_randomizer(environment: Any, drawn: Drawn) -> None:
    place = place_of_physics(environment)
    if place is None:
        raise UserError(
            f"workers.randomizer: {type(environment).__name__} has no physics of Brax or MJX, an attribute sys, to draw"
        )
    model = getattr(environment, place)
    try:
        jax.eval_shape(lambda seed: Drawn(seed, drawn.randomizer).draw(model), jax.ShapeDtypeStruct((), jnp.uint32))
    except Exception as error:  # whatever the user's own code raises
        raise UserError(
            f"workers.randomizer: cannot draw a model of {type(environment).__name__}: {said(error)}"
        ) from error


def _check_masses(environment: Any, variation: Variation) -> None:
    """Some of Brax's physics raises masses to a power that is 0 for some environments."""
    massless = getattr(getattr(environment, "sys", None), "spring_mass_scale", 0) == 1
    if massless and environment.backend in ("spring", "positional") and bool(jnp.any(variation.mass != 1)):
        raise UserError(
            f"workers.environments: got mass, which Brax leaves out of this environment on {environment.backend}; "
            "allowed: environment.backend generalized or mjx"
        )


def _nothing_to_change(environment: Any, name: str) -> str | None:
    """Why there is nothing that the factor could change, or None."""
    if name.startswith("reward"):
        attribute = reward_weights(environment)[name.removeprefix("reward weight ")]
        return None if getattr(environment, attribute) else "it is 0 in this environment"
    kind, place = type(environment).__name__, place_of_physics(environment)
    if place is None:
        return f"{kind} has no physics of Brax or MJX, an attribute sys"
    field = next(field for field, shown in _NAMES.items() if shown == name)
    alike: dict[str, Any] = {"reward": {}, "flip": None} | dict.fromkeys(_NAMES, jnp.ones([]))
    doubled = alike | {field: jnp.full([], 2.0)}
    one, other = (vary_physics(getattr(environment, place), Variation(**factors)) for factors in (alike, doubled))
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    return f"the physics of {kind} has nothing of the kind that is not 0" if same else None


def _felt(environment: Any, variation: Variation) -> Sources:
    """The factors on which observations, rewards or ends depend, at the start or after any number of steps."""
    worker = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), variation)
    action = action_space(environment).abstract
    reset = lambda variation, key: Varied(environment, variation).reset(key)
    step = lambda variation, state, action: Varied(environment, variation).step(state, action)
    where = f"workers.environments: {type(environment).__name__}, its reward weights as arrays"
    begin, state = traced(where, reset, worker, jax.random.key(0))
    advance, _ = traced(where, step, worker, state, action)
    labels = [frozenset([name]) for name, _ in _named(variation)]
    first = flow(begin, [*labels, frozenset()])
    last = until_stable(lambda now: flow(advance, [*labels, *now, frozenset()]), first)
    end = jax.tree.unflatten(jax.tree.structure(state), last)
    return frozenset().union(*jax.tree.leaves((observed(end), end.reward, end.done)))
