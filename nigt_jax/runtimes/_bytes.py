"""Bytes of arrays that need not be there."""

import math
from typing import Any

import jax


def bytes_of(tree: Any) -> int:
    """Of arrays, or of their shapes; a key is two numbers of 32 bits."""
    return sum(math.prod(x.shape) * _size(x.dtype) for x in jax.tree.leaves(tree))


def _size(dtype: Any) -> int:
    return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) else dtype.itemsize
