"""What every transform here needs of numbers: dtypes that do not round increments away, and a norm that survives."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

ScalarOrSchedule = float | jax.Array | Callable[[jax.Array], jax.Array | float]


class OneMinus(NamedTuple):
    r"""A momentum given by what it lacks of one: :math:`\beta = 1 - \eta`, without the rounding of that difference.

    ``1 - momentum`` is exact for a Python number. A traced momentum, or one that a schedule computes, is float32, and
    next to 1 has few digits of :math:`\eta`: of 0.999999 it leaves 0.95e-6 for 1e-6. Every ``momentum`` of this package
    may be ``OneMinus(eta)``.

    Attributes:
      newest: :math:`\eta` in (0, 1], the weight of the newest gradient: a number, an array or a schedule.

    Examples:
      >>> import jax.numpy as jnp, nigt_jax
      >>> from nigt_jax.transforms import OneMinus
      >>> tx = nigt_jax.nigt(0.1, OneMinus(jnp.float32(1e-6)))
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> print(state.reach)
      999999.0
    """

    newest: ScalarOrSchedule


Momentum = ScalarOrSchedule | OneMinus


def tree_norm(tree: Any) -> jax.Array:
    r"""Euclidean norm of a whole tree, without overflow or underflow on the way.

    .. math::
        \|x\| = \max_i |x_i| \; \sqrt{\textstyle\sum_i (x_i / \max_j |x_j|)^2}

    The plain sum of squares is used where it is safe. Where it is not (an entry of 1e30 in float32, or none above
    1e-10) the tree is first divided by its largest entry, which costs two more passes over it.

    Args:
      tree: arrays or numbers of any real or complex floating-point dtype.

    Returns:
      A scalar of the widest real dtype in the tree, and at least float32. NaN or infinity anywhere gives NaN or
      infinity; zeros, and a tree without entries, give zero, with a finite derivative.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nigt_jax.transforms import tree_norm
      >>> print(f"{tree_norm({'a': jnp.array([3e30]), 'b': jnp.array([4e30])}):.1e}")
      5.0e+30
    """
    parts = [part for x in jax.tree.leaves(as_arrays(tree, "entry")) if x.size for part in _real_parts(x)]
    dtype = scalar_dtype(parts)
    if not parts:
        return jnp.zeros([], dtype)

    def sum_of_squares(divisor: jax.Array | None = None) -> jax.Array:
        wide = [x.astype(dtype) if divisor is None else x.astype(dtype) / divisor for x in parts]
        return jnp.stack([jnp.sum(jnp.square(x)) for x in wide]).sum()

    def scaled() -> jax.Array:
        largest = jnp.stack([jnp.max(jnp.abs(x)).astype(dtype) for x in parts]).max()
        some = largest != 0  # true of NaN, which has to show
        divisor = jnp.where(some, largest, 1)
        return jnp.where(some, divisor * jnp.sqrt(jnp.where(some, sum_of_squares(divisor), 1)), 0)

    squares = sum_of_squares()
    floor = float(jnp.finfo(dtype).tiny) ** 0.5  # what has underflowed is then less than the rounding of the sum
    safe = jnp.isfinite(squares) & (squares > floor)
    # Each square root sees a positive number even where the other branch is taken, or derivatives would be NaN.
    return jax.lax.cond(safe, lambda: jnp.sqrt(jnp.where(safe, squares, 1)), scaled)


def divide(tree: optax.Updates, norm: jax.Array) -> optax.Updates:
    """The tree over its norm; zeros, which is what such a tree holds, where the norm is zero."""
    divisor = jnp.where(norm == 0, 1, norm)

    def part(x: jax.Array) -> jax.Array:
        wide = accumulator_of(x)
        return (x.astype(wide) / divisor.astype(wide)).astype(x.dtype)

    return jax.tree.map(functools.partial(on_real, part), tree)


def on_real(f: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """f(*arrays), and for complex arrays f of the real and of the imaginary parts: each is a number of its own."""
    if not jnp.iscomplexobj(arrays[0]):
        return f(*arrays)
    return jax.lax.complex(f(*(x.real for x in arrays)), f(*(x.imag for x in arrays)))


def scalar_dtype(tree: Any) -> Any:
    """The real dtype in which scalars that belong to the tree are kept: that of its widest leaf, at least float32."""
    # NumPy's promotion, because JAX's refuses to mix under jax_numpy_dtype_promotion="strict".
    return functools.reduce(np.promote_types, (_real_dtype(x) for x in jax.tree.leaves(tree)), np.dtype("float32"))


def accumulator_of(leaf: jax.Array) -> Any:
    """The dtype in which increments to `leaf` do not round away: its own, and at least float32."""
    return np.promote_types(leaf.dtype, np.float32)


def accumulators(params: optax.Params, dtype: Any | None) -> optax.Updates:
    """Zeros like params, of `dtype`, or by default of one in which increments do not round away."""

    def zeros(param: jax.Array) -> jax.Array:
        kept = accumulator_of(param) if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
        kind = jnp.complexfloating if jnp.iscomplexobj(param) else jnp.floating
        if not jnp.issubdtype(kept, kind):
            raise TypeError(f"accumulator_dtype {kept} cannot hold the momentum of parameters of dtype {param.dtype}")
        return jnp.zeros_like(param, dtype=kept)

    return jax.tree.map(zeros, params)


def as_arrays(tree: Any, what: str, *, or_shapes: bool = False) -> Any:
    """The tree with its Python and NumPy numbers as arrays.

    Args:
      tree: what a user calls parameters or gradients.
      what: "parameter", "gradient": what messages call a leaf.
      or_shapes: whether a jax.ShapeDtypeStruct stays what it is.

    Raises:
      TypeError: a leaf is no array, such as a function inside a whole Equinox module.
    """

    def leaf(path: Any, x: Any) -> Any:
        if isinstance(x, int | float | complex | np.generic | np.ndarray) and not _is_float0(x):
            return jnp.asarray(np.asarray(x))  # through NumPy, or it would be of a weak type
        shape_only = isinstance(x, jax.ShapeDtypeStruct)
        if (shape_only and not or_shapes) or not (hasattr(x, "dtype") and hasattr(x, "shape")):
            raise TypeError(
                f"{leaf_name(path, what)} is a {type(x).__name__}, not an array: leave out what is not trained, as "
                "equinox.filter(model, equinox.is_inexact_array) does"
            )
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended):
            raise TypeError(f"{leaf_name(path, what)} has dtype {x.dtype}: leave out what is not a number")
        return x

    return jax.tree_util.tree_map_with_path(leaf, tree)


def leaf_name(path: Any, what: str) -> str:
    """What messages call the leaf at this path: the gradient ['w']."""
    return f"the {what} {jax.tree_util.keystr(path)}".rstrip()


def at_step(value: ScalarOrSchedule, count: jax.Array) -> jax.Array | float:
    """The hyperparameter's value at step `count`; an error where it is not one number."""
    now = _number(value(count) if callable(value) else value)
    if jnp.ndim(now) != 0:
        raise ValueError(f"a hyperparameter is one number, got shape {jnp.shape(now)}: use jax.vmap for several")
    return now


def weights_at(momentum: Momentum, count: jax.Array) -> tuple[jax.Array | float, jax.Array | float]:
    """The weights of the past and of the newest gradient at step `count`; ValueError where they are out of range.

    Of Python numbers both are exact: in float32, 1 - 0.999 would be off by 1e-5 of itself.
    """
    if isinstance(momentum, OneMinus):
        newest = at_step(momentum.newest, count)
        _check_range(newest, lambda x: 0 < x <= 1, "OneMinus holds the weight of the newest gradient, in (0, 1]")
        return 1 - newest, newest
    past = at_step(momentum, count)
    _check_range(past, lambda x: 0 <= x < 1, "momentum is the weight of the past and lies in [0, 1)")
    return past, 1 - past


def check_momentum(momentum: Momentum) -> None:
    """Refuses a number out of range; a schedule is checked when it is called."""
    given = momentum.newest if isinstance(momentum, OneMinus) else momentum
    if not callable(given) and jnp.ndim(_number(given)) == 0:
        weights_at(momentum, jnp.zeros([], jnp.int32))


def check_learning_rate(learning_rate: ScalarOrSchedule) -> None:
    """Refuses a number that is not finite; a schedule is not checked."""
    if not callable(learning_rate) and jnp.ndim(_number(learning_rate)) == 0:
        _check_range(learning_rate, math.isfinite, "learning_rate is the length of a step, a finite number")


def as_known(value: Any) -> float | None:
    """The number, or None where it is traced, so that nobody can look at it."""
    return None if isinstance(value, jax.core.Tracer) else float(value)


def _check_range(value: Any, allowed: Callable[[float], bool], meaning: str) -> None:
    number = as_known(value)
    if number is not None and not allowed(number):
        raise ValueError(f"{meaning}, got {number}")


def _number(value: Any) -> Any:
    if not isinstance(value, int | float | np.generic | np.ndarray | jax.Array):
        raise TypeError(f"a hyperparameter is a number, an array or a schedule, got {value!r}")
    return value


def check_gradients(updates: optax.Updates, like: optax.Updates) -> None:
    """Refuses gradients of another structure or shape (ValueError) or dtype (TypeError) than their parameters'."""
    got: Any = jax.tree.structure(updates)
    expected: Any = jax.tree.structure(like)
    if got != expected:
        raise ValueError(f"the gradients have another structure than the parameters: got {got}, expected {expected}")
    check_inexact(updates)
    for (path, g), d in zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(like), strict=True):
        name = leaf_name(path, "gradient")
        if jnp.iscomplexobj(g) != jnp.iscomplexobj(d):
            raise TypeError(f"{name} has dtype {g.dtype}, its parameter {d.dtype}: one is real, one complex")
        if g.shape != d.shape:
            raise ValueError(f"{name} has shape {g.shape}, its parameter {d.shape}")


def check_inexact(updates: optax.Updates) -> None:
    """Refuses integer gradients; TypeError."""
    for path, g in jax.tree_util.tree_leaves_with_path(updates):
        if not jnp.issubdtype(g.dtype, jnp.inexact):
            name = leaf_name(path, "gradient")
            raise TypeError(f"{name} has dtype {g.dtype}; it must be a floating-point or complex one")


def _is_float0(x: Any) -> bool:
    """Whether it is what jax.grad gives for integers."""
    return getattr(x, "dtype", None) == jax.dtypes.float0


def _real_parts(x: jax.Array) -> list[jax.Array]:
    return [x.real, x.imag] if jnp.iscomplexobj(x) else [x]


def _real_dtype(x: jax.Array) -> Any:
    return jnp.finfo(x.dtype).dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.dtype(jnp.float32)
