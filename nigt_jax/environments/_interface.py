"""What training needs of an environment."""

from typing import Any, Protocol

from jaxtyping import Array, Float, Int, PRNGKeyArray


class Environment(Protocol):
    """A single environment, without wrappers for training; :func:`nigt_jax.check_environment` checks it.

    `reset` and `step` are pure functions that JAX can trace. A state is a pytree with attributes ``obs`` (shape [obs]),
    ``reward`` and ``done`` (numbers; an episode ends where ``done`` is above 0), the same fields after both.

    Workers' environments may differ from it by a :class:`nigt_jax.environments.Variation`: in the constants of Brax's
    physics, where there is an attribute ``sys``; in reward weights, which are attributes ``*_weight`` or ``*_reward``;
    and in the sign of observations.

    It has one of two attributes: ``action_size``, how many numbers an action has, each in [-1, 1]; or ``num_actions``,
    of how many an action is one, a whole number from 0.
    """

    def reset(self, key: PRNGKeyArray) -> Any:
        """A first state, drawn anew from the start distribution."""

    def step(self, state: Any, action: Float[Array, " action"] | Int[Array, ""]) -> Any:
        """The state after one step."""
