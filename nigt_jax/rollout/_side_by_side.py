"""One environment, many episodes at once."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

from nigt_jax.environments import Varied, permissive
from nigt_jax.rollout._vmap_last import vmap_last

_Functions = tuple[Callable[..., Any], Callable[..., Any]]
_traced: contextvars.ContextVar[dict[Any, tuple[Any, _Functions]] | None] = contextvars.ContextVar("_traced")


@contextlib.contextmanager
def environments_traced_once() -> Iterator[None]:
    """While a program is traced: an environment's code is run once for each shape, wherever the program plays it.

    Afterwards nothing is kept, for an environment may change from one program to the next.
    """
    token = _traced.set({})
    try:
        yield
    finally:
        _traced.reset(token)


def side_by_side(environment: Any, *, lanes_last: bool) -> _Functions:
    """An environment's `reset` and `step` for many episodes at once.

    Args:
      environment: an environment without wrappers.
      lanes_last: whether lanes stay the last axis inside, too, where the loops of a CPU run fastest. Otherwise
        `jax.vmap` puts them where it likes: nothing else was measured on other devices.

    Returns:
      (variations, keys) to first states, and (variations, states, actions) to the next ones. The axis of episodes is
      the last one of everything. Variations are None where no environment differs.
    """
    known = _traced.get(None)
    if known is None:
        return _functions(environment, lanes_last)
    name = (id(environment), lanes_last)
    if name not in known:
        known[name] = environment, _functions(environment, lanes_last)  # while it is here, no other has its id
    return known[name][1]


def _functions(environment: Any, lanes_last: bool) -> _Functions:
    def reset(variation: Any, key: Any) -> Any:
        return _varied(environment, variation).reset(key)

    def step(variation: Any, state: Any, action: Any) -> Any:
        return _varied(environment, variation).step(state, action)

    of_all = vmap_last if lanes_last else functools.partial(jax.vmap, in_axes=-1, out_axes=-1)
    return permissive(jax.jit(of_all(reset))), permissive(jax.jit(of_all(step)))


def _varied(environment: Any, variation: Any) -> Any:
    return environment if variation is None else Varied(environment, variation)
