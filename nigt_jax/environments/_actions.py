"""What an environment takes for an action: some numbers, or one of n."""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nigt_jax.errors import UserError


class ActionSpace(NamedTuple):
    """The actions of an environment.

    Attributes:
      discrete: whether an action is one of `size`, a whole number from 0; otherwise it is so many numbers in [-1, 1].
      size: how many.
    """

    discrete: bool
    size: int

    @property
    def abstract(self) -> jax.ShapeDtypeStruct:
        """An action of a single environment, as a shape."""
        return jax.ShapeDtypeStruct(() if self.discrete else (self.size,), jnp.int32 if self.discrete else jnp.float32)

    def draw(self, key: PRNGKeyArray, number: int) -> Array:
        """So many actions, each as likely as any other: [number, size], or whole numbers [number] where discrete."""
        if self.discrete:
            return jax.random.randint(key, (number,), 0, self.size, jnp.int32)
        return jax.random.uniform(key, (number, self.size), minval=-1.0)


_MEANINGS = {
    "action_size": "how many numbers an action has",
    "num_actions": "how many actions there are to choose from",
}


def action_space(environment: Any) -> ActionSpace:
    """The actions of an environment, which has one of two attributes: ``action_size``, or ``num_actions``.

    Raises:
      UserError: it has both or neither, or the one that it has is no whole number of at least 1.
    """
    kind, found = type(environment).__name__, {name: getattr(environment, name, None) for name in _MEANINGS}
    given = {name: value for name, value in found.items() if value is not None}
    if len(given) == 2:
        raise UserError(f"{kind}: has action_size and num_actions, wanted: one of both, numbers or one of n")
    name, value = next(iter(given.items()), ("action_size", None))
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        got = f"a {type(value).__name__}" if callable(value) else repr(value)
        raise UserError(f"{kind}.{name}: got {got}, wanted: {_MEANINGS[name]}, an int of at least 1")
    return ActionSpace(name == "num_actions", int(value))
