"""`jax.vmap` along the last axis, which stays the last one all the way through.

Physics of one body is arrays of three or four numbers. With lanes in front, where `jax.vmap` puts them, it is along
such an axis that the loops of a CPU run, a handful of numbers at a time. With lanes last they run along the lanes.

The function is traced for a single lane, and what is traced is done again, operation by operation, to all lanes. An
operation that has no rule here is left to `jax.vmap`, which moves axes as it needs them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal
from jaxtyping import Array

from nigt_jax.jaxprs import split_scan

_EXACT = {jnp.dtype(t) for t in ("float32", "float64", "int32", "int64")}  # sums of others need wider numbers
_LARGE = 2**12  # multiplications of a lane: from here on a matrix product is left to those who do nothing else

# fmt: off
_ELEMENTWISE = frozenset([
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clamp",
    "convert_element_type", "copy", "cos", "cosh", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul",
    "ne", "neg", "nextafter", "not", "or", "pow", "rem", "round", "rsqrt", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh",
    "xor",
])
_ALONG_AXES = frozenset([  # which they count from the front
    "argmax", "argmin", "concatenate", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce_and",
    "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor", "rev", "split", "squeeze",
    "stack", "unstack",
])
# fmt: on
_INLINE = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


class _Lanes(NamedTuple):
    """A value that differs from lane to lane; the last axis is that of lanes."""

    array: Array


def vmap_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of all lanes, from that of one.

    Args:
      function: maps pytrees of arrays to a pytree of arrays. It is traced, and it may not be differentiated later.

    Returns:
      The same of arguments whose leaves have a last axis of lanes, to a result whose leaves do. It raises ValueError
      where not all leaves have equally many.
    """

    def of_all(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        last = {x.shape[-1:] for x in leaves}
        if len(last) != 1 or last == {()}:
            raise ValueError(f"leaves need last axes of one size, got: {sorted(last)}")
        lanes = leaves[0].shape[-1]
        one = jax.tree.unflatten(structure, [_of_one(x) for x in leaves])
        traced, result = jax.make_jaxpr(function, return_shape=True)(*one)
        values = _evaluate(traced, [_Lanes(x) for x in leaves], lanes)
        return jax.tree.unflatten(jax.tree.structure(result), [_lift(v, lanes) for v in values])

    return of_all


def _of_one(leaf: Any) -> jax.ShapeDtypeStruct:
    """What a lane sees of a leaf."""
    return jax.ShapeDtypeStruct(leaf.shape[:-1], leaf.dtype, weak_type=getattr(leaf, "weak_type", False))


def _evaluate(traced: ClosedJaxpr, values: Sequence[Any], lanes: int) -> list[Any]:
    """What the traced function makes of these values: arrays that are the same in all lanes, or `_Lanes`."""
    jaxpr = traced.jaxpr
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*traced.consts, *values], strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]
    for operation in jaxpr.eqns:
        results = _apply(operation, [read(atom) for atom in operation.invars], lanes)
        known.update(zip(operation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(operation: Any, values: list[Any], lanes: int) -> list[Any]:
    name, params = operation.primitive.name, operation.params
    if not any(isinstance(v, _Lanes) for v in values):
        return _as_it_is(operation, *values)
    if name in _INLINE:
        return _evaluate(params[_INLINE[name]], values, lanes)
    if name in _NESTED:
        return _NESTED[name](params, values, lanes)
    if name in _ELEMENTWISE:
        return [_Lanes(operation.primitive.bind(*_alike(values, lanes), **_unsharded(params)))]
    if name in _ALONG_AXES:
        results = operation.primitive.bind(*[_lift(v, lanes) for v in values], **_unsharded(params))
        return [_Lanes(x) for x in (results if operation.primitive.multiple_results else [results])]
    rule = _RULES.get(name)
    result = rule(params, values, lanes) if rule else None
    return by_vmap(operation, values) if result is None else [_Lanes(result)]


def _as_it_is(operation: Any, *values: Any) -> list[Any]:
    primitive = operation.primitive
    results = primitive.bind(*values, **primitive.get_bind_params(operation.params))
    return results if primitive.multiple_results else [results]


def by_vmap(operation: Any, values: list[Any]) -> list[Any]:
    """An operation without a rule of its own, as `jax.vmap` does it: right, but with lanes moved about.

    Args:
      operation: an equation of a jaxpr.
      values: its operands, those that differ from lane to lane as _Lanes.

    Returns:
      Its results, all of them _Lanes.
    """
    axes = [-1 if isinstance(v, _Lanes) else None for v in values]
    arrays = [v.array if isinstance(v, _Lanes) else v for v in values]
    results = jax.vmap(functools.partial(_as_it_is, operation), in_axes=axes, out_axes=-1)(*arrays)
    return [_Lanes(x) for x in results]


def _lift(value: Any, lanes: int) -> Array:
    """The value of all lanes, whether or not they differ."""
    if isinstance(value, _Lanes):
        return value.array
    return lax.broadcast_in_dim(value, (*jnp.shape(value), lanes), tuple(range(jnp.ndim(value))))


def _alike(values: list[Any], lanes: int) -> list[Array]:
    """The same with equal shapes: a single number stands for an array of it."""
    arrays = [_lift(v, lanes) for v in values]
    shape = max((x.shape for x in arrays), key=len)
    return [x if x.ndim == len(shape) else _spread(x, shape) for x in arrays]


def _spread(number: Array, shape: Sequence[int]) -> Array:
    """A number of each lane, as often as it is needed."""
    return lax.broadcast_in_dim(number, shape, (len(shape) - 1,))


def _unsharded(params: dict[str, Any]) -> dict[str, Any]:
    return {k: None if k in ("sharding", "out_sharding") else v for k, v in params.items()}


def _scan(params: dict[str, Any], values: list[Any], lanes: int) -> list[Any]:
    """A loop whose carry differs from lane to lane from the start."""
    consts, start, rows = split_scan(params, values)
    differ = [isinstance(x, _Lanes) for x in rows]

    def body(carry: list[Array], row: list[Array]) -> tuple[list[Array], list[Array]]:
        own = [_Lanes(x) if d else x for x, d in zip(row, differ, strict=True)]
        results = _evaluate(params["jaxpr"], [*consts, *map(_Lanes, carry), *own], lanes)
        lifted = [_lift(v, lanes) for v in results]
        return lifted[: len(start)], lifted[len(start) :]

    arrays = [x.array if isinstance(x, _Lanes) else x for x in rows]
    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    carry, made = lax.scan(body, [_lift(v, lanes) for v in start], arrays, **options)
    return [_Lanes(x) for x in (*carry, *made)]


def _cond(params: dict[str, Any], values: list[Any], lanes: int) -> list[Any]:
    """Where lanes go different ways, all of them go all, and each keeps what is its own."""
    index, *operands = values
    branch = lambda traced: [_lift(v, lanes) for v in _evaluate(traced, operands, lanes)]
    branches = [functools.partial(branch, traced) for traced in params["branches"]]
    if not isinstance(index, _Lanes):
        return [_Lanes(x) for x in lax.switch(index, branches)]
    results = zip(*[branch() for branch in branches], strict=True)
    return [_Lanes(lax.select_n(_spread(index.array, cases[0].shape), *cases)) for cases in results]


def _while(params: dict[str, Any], values: list[Any], lanes: int) -> list[Any]:
    """A loop that goes on until the last lane is done; those that are done stay as they are."""
    first, last = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]

    def more(carry: list[Array]) -> Array:
        (answer,) = _evaluate(params["cond_jaxpr"], [*values[:first], *map(_Lanes, carry)], lanes)
        return _lift(answer, lanes)

    def body(now: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        busy, carry = now
        results = _evaluate(params["body_jaxpr"], [*values[first:last], *map(_Lanes, carry)], lanes)
        new = [_lift(v, lanes) for v in results]
        carry = [lax.select(_spread(busy, x.shape), x, old) for x, old in zip(new, carry, strict=True)]
        return busy & more(carry), carry

    start = [_lift(v, lanes) for v in values[last:]]
    _, carry = lax.while_loop(lambda now: now[0].any(), body, (more(start), start))
    return [_Lanes(x) for x in carry]


def _broadcast_in_dim(params: dict[str, Any], values: list[Any], lanes: int) -> Array:
    shape, where = params["shape"], params["broadcast_dimensions"]
    return lax.broadcast_in_dim(values[0].array, (*shape, lanes), (*where, len(shape)))


def _reshape(params: dict[str, Any], values: list[Any], lanes: int) -> Array | None:
    if params["dimensions"] is not None:  # in another order
        return None
    return lax.reshape(values[0].array, (*params["new_sizes"], lanes))


def _transpose(params: dict[str, Any], values: list[Any], _: int) -> Array:
    order = params["permutation"]
    return lax.transpose(values[0].array, (*order, len(order)))


def _slice(params: dict[str, Any], values: list[Any], lanes: int) -> Array:
    begin, end = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * len(begin)
    return lax.slice(values[0].array, (*begin, 0), (*end, lanes), (*strides, 1))


def _tile(params: dict[str, Any], values: list[Any], _: int) -> Array:
    return jnp.tile(values[0].array, (*params["reps"], 1))


def _gather(params: dict[str, Any], values: list[Any], lanes: int) -> Array | None:
    """The same places in all lanes."""
    numbers, (operand, indices) = params["dimension_numbers"], values
    if isinstance(indices, _Lanes) or numbers.operand_batching_dims:
        return None
    last = len(numbers.offset_dims) + jnp.ndim(indices) - 1
    return lax.gather(
        operand.array,
        indices,
        lax.GatherDimensionNumbers((*numbers.offset_dims, last), numbers.collapsed_slice_dims, numbers.start_index_map),
        (*params["slice_sizes"], lanes),
        mode=params["mode"],
        fill_value=params["fill_value"],
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
    )


def _scatter(scatter: Callable[..., Array], params: dict[str, Any], values: list[Any], lanes: int) -> Array | None:
    """To the same places in all lanes."""
    numbers, (operand, indices, updates) = params["dimension_numbers"], values
    overwrites = scatter is lax.scatter and params["update_jaxpr"] is None
    if isinstance(indices, _Lanes) or numbers.operand_batching_dims or not (overwrites or scatter is lax.scatter_add):
        return None
    made = _lift(updates, lanes)
    window = (*numbers.update_window_dims, made.ndim - 1)
    return scatter(
        _lift(operand, lanes),
        indices,
        made,
        lax.ScatterDimensionNumbers(window, numbers.inserted_window_dims, numbers.scatter_dims_to_operand_dims),
        mode=params["mode"],
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
    )


def _dot_general(params: dict[str, Any], values: list[Any], lanes: int) -> Array | None:
    """A small product: multiplications along the lanes, and a sum."""
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    left, shape, left_free = _arranged(values[0], left_batch, left_sum)
    right, _, right_free = _arranged(values[1], right_batch, right_sum)
    same, rows, summed, _ = left.shape
    columns, dtypes = right.shape[1], {left.dtype, right.dtype, params["preferred_element_type"] or left.dtype}
    if same * rows * columns * summed > _LARGE or len(dtypes) > 1 or left.dtype not in _EXACT:
        return None
    products = lax.expand_dims(left, (2,)) * lax.expand_dims(right, (1,))  # [same, rows, columns, summed, lanes]
    return products.sum(3).reshape(*shape, *left_free, *right_free, lanes)


def _arranged(value: Any, batch: Sequence[int], summed: Sequence[int]) -> tuple[Array, Sequence[int], Sequence[int]]:
    """A factor as [batch, its own, summed, lanes], 1 for the last if all are alike; shapes of the first two."""
    array = value.array if isinstance(value, _Lanes) else lax.expand_dims(value, (jnp.ndim(value),))
    free = [k for k in range(array.ndim - 1) if k not in (*batch, *summed)]
    shapes = [[array.shape[k] for k in axes] for axes in (batch, free, summed)]
    moved = lax.transpose(array, (*batch, *free, *summed, array.ndim - 1))
    return moved.reshape(*map(math.prod, shapes), array.shape[-1]), shapes[0], shapes[1]


_NESTED = {"cond": _cond, "scan": _scan, "while": _while}
_Rule = Callable[[dict[str, Any], list[Any], int], Array | None]
_RULES: dict[str, _Rule] = {  # None where an operation is not of the kind that the rule is for
    "broadcast_in_dim": _broadcast_in_dim,
    "dot_general": _dot_general,
    "gather": _gather,
    "reshape": _reshape,
    "scatter": functools.partial(_scatter, lax.scatter),
    "scatter-add": functools.partial(_scatter, lax.scatter_add),
    "slice": _slice,
    "tile": _tile,
    "transpose": _transpose,
}
