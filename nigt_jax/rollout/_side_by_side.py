"""One environment, many episodes at once."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from nigt_jax.environments import Varied, permissive
from nigt_jax.rollout._vmap_last import vmap_last


def side_by_side(environment: Any, *, lanes_last: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An environment's `reset` and `step` for many episodes at once.

    Args:
      environment: an environment without wrappers.
      lanes_last: whether lanes stay the last axis inside, too, where the loops of a CPU run fastest. Otherwise
        `jax.vmap` puts them where it likes: nothing else was measured on other devices.

    Returns:
      (variations, keys) to first states, and (variations, states, actions) to the next ones. The axis of episodes is
      the last one of everything. Variations are None where no environment differs.
    """

    def reset(variation: Any, key: Any) -> Any:
        return _varied(environment, variation).reset(key)

    def step(variation: Any, state: Any, action: Any) -> Any:
        return _varied(environment, variation).step(state, action)

    of_all = vmap_last if lanes_last else functools.partial(jax.vmap, in_axes=-1, out_axes=-1)
    return permissive(of_all(reset)), permissive(of_all(step))


def _varied(environment: Any, variation: Any) -> Any:
    return environment if variation is None else Varied(environment, variation)
