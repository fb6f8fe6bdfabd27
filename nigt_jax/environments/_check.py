"""Whether an environment is one that the lanes can play, and if not, which field of it is wrong.

The lanes carry the state through compiled loops, and replace it by a fresh one where an episode ends. So it has to be
of the same fields, shapes and dtypes after `step` as after `reset`, whatever JAX would say of it deep inside.
"""

import functools
import inspect
import numbers
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from nigt_jax.environments._actions import action_space
from nigt_jax.environments._attributes import attributes
from nigt_jax.environments._observed import SEEN, observed
from nigt_jax.errors import UserError

_WRAPPERS = {  # of Brax, and of those who have taken them over
    "AutoResetWrapper": "starts an episode again from a state that it keeps",
    "BraxAutoResetWrapper": "starts an episode again from a state that it keeps",
    "DomainRandomizationVmapWrapper": "is a batch of environments",
    "BraxDomainRandomizationVmapWrapper": "is a batch of environments",
    "EpisodeWrapper": "ends episodes where environment.horizon cuts them",
    "EvalWrapper": "is for a batch of environments",
    "VmapWrapper": "is a batch of environments",
}
_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
)
_FIELDS = "wanted: a state with obs, reward and done"


def first_state(environment: Any) -> Any:
    """The state after `reset`, as shapes, of an environment that was found to be one; nothing is computed.

    Raises:
      UserError: one line that names the field, what it is and what is wanted; see
        :func:`nigt_jax.check_environment` for what that is.
    """
    check_kind(environment)
    name, action = type(environment).__name__, action_space(environment).abstract
    reset, step = f"{name}.reset", f"{name}.step"
    _, state = traced(reset, functools.partial(_checked, reset, environment.reset), jax.random.key(0))
    _, after = traced(step, functools.partial(_checked, step, environment.step), state, action)
    permissive(_check_same)(step, state, after)
    _check_attributes(environment)
    return state


def permissive(function: Callable[..., Any]) -> Callable[..., Any]:
    """An environment's own code is not held to strict promotion of ranks and dtypes; ours around it still is."""

    def call(*args: Any) -> Any:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args)

    return call


def traced(where: str, function: Callable[..., Any], *args: Any) -> tuple[ClosedJaxpr, Any]:
    """An environment's function as JAX traces it, and the shapes of what it gives.

    Raises:
      UserError: JAX cannot trace it. Other errors are its own, and stay what they are.
    """
    try:
        program, shapes = jax.make_jaxpr(permissive(function), return_shape=True)(*args)
    except _UNTRACEABLE as error:
        what = str(error).splitlines()[0].rstrip(". ")
        raise UserError(
            f"{where}: JAX cannot trace it{_place(error)}: {what}; wanted: jnp.where or lax.cond for Python's if, jnp "
            "for numpy, and nothing kept but in the state"
        ) from error
    leaves = [jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=x.weak_type) for x in program.out_avals]
    return program, jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def check_kind(environment: Any) -> None:
    """Refuses what is no environment, as far as that can be told before anything is called.

    Raises:
      UserError: one line; see :func:`first_state`.
    """
    if isinstance(environment, type):
        raise UserError(f"environment: got the class {environment.__name__}, wanted: an instance of it")
    name = type(environment).__name__
    if (wrapper := _wrapper(environment)) is not None:
        raise UserError(
            f"environment: got one in Brax's {wrapper}, which {_WRAPPERS[wrapper]}; wanted: the environment without "
            "wrappers for training, such as brax.envs.get_environment gives"
        )
    if any(kind.__module__.split(".")[0] in ("gym", "gymnasium") for kind in type(environment).__mro__):
        raise UserError(
            f"environment: got {name}, which has the interface of Gymnasium; wanted: that of Brax, reset(key) -> state "
            "and step(state, action) -> state, written in JAX"
        )
    for method, arguments in (("reset", ("key",)), ("step", ("state", "action"))):
        _check_signature(environment, method, arguments)
    action_space(environment)


def _wrapper(environment: Any) -> str | None:
    """The wrapper for training that an environment is in, whatever else is around or inside it."""
    seen: set[int] = set()  # an environment may hold itself
    while environment is not None and id(environment) not in seen:
        for kind in type(environment).__mro__:
            if kind.__name__ in _WRAPPERS:
                return kind.__name__
        seen.add(id(environment))
        environment = attributes(environment).get("env")
    return None


def _check_signature(environment: Any, method: str, arguments: tuple[str, ...]) -> None:
    name, call = type(environment).__name__, f"{method}({', '.join(arguments)})"
    function = getattr(environment, method, None)
    if not callable(function):
        raise UserError(f"environment: got {name}, which has no {call}; wanted: an environment such as those of Brax")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # it has none that could be looked at
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise UserError(f"{name}.{method}: takes {signature}, wanted: {call}") from None


def _checked(where: str, function: Callable[..., Any], *args: Any) -> Any:
    """A state of single numbers and arrays, of which the lanes need three."""
    state = function(*args)
    for field in ("obs", "reward", "done"):
        if not hasattr(state, field):
            raise UserError(f"{where}: gives a {type(state).__name__}, which has no {field}; {_FIELDS}")
    whole, seen = state.obs, isinstance(state.obs, Mapping) and SEEN in state.obs
    if isinstance(whole, Mapping | list | tuple) and not seen:
        named = f" of {', '.join(map(str, whole))}" if isinstance(whole, Mapping) else ""
        raise UserError(
            f"{where}: obs is a {type(whole).__name__}{named}, wanted: one array of one dimension, such as "
            f"jnp.concatenate makes of several, or a mapping that has it under {SEEN!r}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if leaf is state:
            raise UserError(
                f"{where}: gives a {type(state).__name__}, which is no pytree; wanted: a flax.struct.dataclass"
            )
        if not _is_array(leaf):
            raise UserError(f"{where}: {_named(path)} is a {type(leaf).__name__}, wanted: arrays and numbers only")
    _check_shapes(where, *(jnp.asarray(x) for x in (observed(state), state.reward, state.done)))
    return state


def _check_shapes(where: str, obs: Any, reward: Any, done: Any) -> None:
    if obs.ndim > 1 and reward.shape[:1] == done.shape[:1] == obs.shape[:1]:
        raise UserError(
            f"{where}: gives a batch of {obs.shape[0]} environments (obs is {_kind(obs)}, reward {_kind(reward)}); "
            "wanted: a single one, training makes the batch"
        )
    if obs.ndim != 1 or not jnp.issubdtype(obs.dtype, jnp.floating):
        raise UserError(f"{where}: obs is {_kind(obs)}, wanted: one dimension of floating numbers, float32[n]")
    for name, value in (("reward", reward), ("done", done)):
        if value.shape or not _is_real(value.dtype):
            raise UserError(f"{where}: {name} is {_kind(value)}, wanted: a single real number, float32[]")


def _check_same(where: str, before: Any, after: Any) -> None:
    """The state after `step` is of the same fields, shapes and dtypes as that after `reset`."""
    first, second = (dict(jax.tree_util.tree_leaves_with_path(state)) for state in (before, after))
    wanted = "wanted: the same fields after both, such as zeros in reset"
    for path in second:
        if path not in first:
            raise UserError(f"{where}: gives {_named(path)}, which reset does not; {wanted}")
    for path, was in first.items():
        if path not in second:
            raise UserError(f"{where}: does not give {_named(path)}, which reset does; {wanted}")
        now = second[path]
        if was.shape != now.shape or not _becomes(was, now.dtype):
            real = was.shape == now.shape and _is_real(was.dtype) and _is_real(now.dtype)
            cast = f", such as {jnp.promote_types(was.dtype, now.dtype)} in both" if real else ""
            raise UserError(
                f"{where}: {_named(path)} is {_kind(now)}, after reset {_kind(was)}; wanted: the same{cast}"
            )
    for one, other in _unlike(jax.tree.structure(before), jax.tree.structure(after)):
        raise UserError(f"{where}: the state has a {other}, after reset a {one} in its place; wanted: the same")


def _unlike(one: Any, other: Any) -> Iterator[tuple[str, str]]:
    """The nodes in which two structures of the same leaves differ: their types, and what is fixed in them."""
    if one != other:
        for pair in zip(one.children(), other.children(), strict=True):
            yield from _unlike(*pair)
        yield _node(one), _node(other)


def _node(structure: Any) -> str:
    kind, fixed = structure.node_data()
    return f"{kind.__name__} ({fixed})"


def _check_attributes(environment: Any) -> None:
    """Refuses what was kept outside of the state: it belongs to a program that no longer is."""
    for name, value in attributes(environment).items():
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
            raise UserError(
                f"{type(environment).__name__}.{name}: was set by reset or step; wanted: what changes is in the state"
            )


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray | np.generic):
        return _is_real(leaf.dtype) or jnp.issubdtype(leaf.dtype, jnp.complexfloating)
    return isinstance(leaf, jax.Array | numbers.Number)


def _becomes(value: Any, dtype: Any) -> bool:
    """Whether a carried value is of this dtype, or a number of Python's that takes it on."""
    if value.dtype == dtype:
        return True
    return value.weak_type and _is_real(dtype) and jnp.result_type(value, jnp.empty([], dtype)) == dtype


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _named(path: Any) -> str:
    return jax.tree_util.keystr(path).removeprefix(".")


def _kind(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}"


def _place(error: BaseException) -> str:
    """Where in the user's own code it happened, as far as that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if not _belongs_to_others(frame.filename)][-1:]
    return "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in last)


def _belongs_to_others(file: str) -> bool:
    folders = [Path(__file__).parents[1], *(Path(inspect.getfile(package)).parent for package in (jax, np))]
    return any(file.startswith(f"{folder}{os.sep}") for folder in folders)
