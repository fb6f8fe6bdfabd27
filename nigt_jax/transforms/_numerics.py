"""What every transform here needs of numbers: dtypes that do not round increments away, and a norm that survives."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

ScalarOrSchedule = float | jax.Array | Callable[[jax.Array], jax.Array | float]


def tree_norm(tree: Any) -> jax.Array:
    r"""Euclidean norm of a whole tree, without overflow or underflow on the way.

    .. math::
        \|x\| = \max_i |x_i| \; \sqrt{\textstyle\sum_i (x_i / \max_j |x_j|)^2}

    The plain sum of squares is used where it is safe. Where it is not (an entry of 1e30 in float32, or none above
    1e-10) the tree is first divided by its largest entry, which costs two more passes over it.

    Args:
      tree: arrays of any real or complex floating-point dtype.

    Returns:
      A scalar of the widest real dtype in the tree, and at least float32. NaN or infinity anywhere gives NaN or
      infinity; zeros, and a tree without entries, give zero, with a finite derivative.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nigt_jax.transforms import tree_norm
      >>> print(f"{tree_norm({'a': jnp.array([3e30]), 'b': jnp.array([4e30])}):.1e}")
      5.0e+30
    """
    parts = [part for x in jax.tree.leaves(tree) if x.size for part in _real_parts(x)]
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


def at_step(value: ScalarOrSchedule, count: jax.Array) -> jax.Array | float:
    """The hyperparameter's value at step `count`; ValueError where it is more than one number."""
    now = value(count) if callable(value) else value
    if jnp.ndim(now) != 0:
        raise ValueError(f"a hyperparameter is one number, got shape {jnp.shape(now)}: use jax.vmap for several")
    return now


def check_momentum(momentum: ScalarOrSchedule) -> None:
    """Refuses a number outside [0, 1); ValueError. What is traced or scheduled cannot be checked."""
    if isinstance(momentum, int | float | np.generic) and not 0 <= momentum < 1:
        raise ValueError(f"momentum is the weight of the past and lies in [0, 1), got {momentum}")


def check_gradients(updates: optax.Updates, like: optax.Updates) -> None:
    """Refuses gradients of another structure or shape (ValueError) or dtype (TypeError) than their parameters'."""
    got: Any = jax.tree.structure(updates)
    expected: Any = jax.tree.structure(like)
    if got != expected:
        raise ValueError(f"the gradients have another structure than the parameters: got {got}, expected {expected}")
    check_inexact(updates)
    for (path, g), d in zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(like), strict=True):
        if jnp.iscomplexobj(g) != jnp.iscomplexobj(d):
            raise TypeError(f"{_name(path)} has dtype {g.dtype}, its momentum {d.dtype}: one is real, one complex")
        if g.shape != d.shape:
            raise ValueError(f"{_name(path)} has shape {g.shape}, its parameter {d.shape}")


def check_inexact(updates: optax.Updates) -> None:
    """Refuses integer gradients; TypeError."""
    for path, g in jax.tree_util.tree_leaves_with_path(updates):
        if not jnp.issubdtype(g.dtype, jnp.inexact):
            raise TypeError(f"{_name(path)} has dtype {g.dtype}; it must be a floating-point or complex one")


def _name(path: Any) -> str:
    return f"the gradient of {jax.tree_util.keystr(path) or 'the parameters'}"


def _real_parts(x: jax.Array) -> list[jax.Array]:
    return [x.real, x.imag] if jnp.iscomplexobj(x) else [x]


def _real_dtype(x: jax.Array) -> Any:
    return jnp.finfo(x.dtype).dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.dtype(jnp.float32)
