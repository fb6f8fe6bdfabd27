"""One environment, many episodes at once."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from nigt_jax.environments import Varied, action_space, permissive
from nigt_jax.rollout._packed import Loose, Packed, pack
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
    reset, step = _functions(environment, lanes_last)
    return permissive(jax.jit(reset)), permissive(jax.jit(step))


def packed_side_by_side(environment: Any, *, lanes_last: bool) -> _Functions:
    """The same with states that are packed where lanes are last: a Packed or a Loose; see those."""
    known = _traced.get(None)
    if known is None:
        return _packed(environment, lanes_last)
    name = (id(environment), lanes_last)
    if name not in known:
        known[name] = environment, _packed(environment, lanes_last)  # while it is here, no other has its id
    return known[name][1]


def _packed(environment: Any, lanes_last: bool) -> _Functions:
    reset, step = _functions(environment, lanes_last)
    packed, called = (pack, _apart) if lanes_last else (Loose, jax.jit)

    def first(variations: Any, keys: Any) -> Packed | Loose:
        states = reset(variations, keys)
        if lanes_last and any(jax.typeof(x).weak_type for x in jax.tree.leaves(states)):
            one = action_space(environment).abstract
            actions = jax.ShapeDtypeStruct((*one.shape, keys.shape[-1]), one.dtype)
            after = jax.eval_shape(step, variations, states, actions)
            states = jax.tree.map(lambda x, now: x.astype(now.dtype), states, after)  # a Python number may become any
        return packed(states)

    def after(variations: Any, states: Packed | Loose, actions: Any) -> Packed | Loose:
        return packed(step(variations, states.tree(), actions))

    return permissive(called(first)), permissive(called(after))


def _apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that XLA for CPU looks at by itself, and so once, wherever a program calls it.

    Otherwise it is written out at every call, and simplified and put together anew each time.
    """
    compiled = jax.jit(function)

    def call(*args: Any) -> Any:
        with set_xla_metadata(inlineable="false"):
            return compiled(*args)

    return call


def _functions(environment: Any, lanes_last: bool) -> _Functions:
    def reset(variation: Any, key: Any) -> Any:
        return _varied(environment, variation).reset(key)

    def step(variation: Any, state: Any, action: Any) -> Any:
        return _varied(environment, variation).step(state, action)

    of_all = vmap_last if lanes_last else functools.partial(jax.vmap, in_axes=-1, out_axes=-1)
    return of_all(reset), of_all(step)


def _varied(environment: Any, variation: Any) -> Any:
    return environment if variation is None else Varied(environment, variation)
