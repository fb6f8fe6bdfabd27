"""Random keys in trees of arrays, for whoever can only take numbers."""

from typing import Any

import jax


def is_key(x: Any) -> bool:
    """Whether an array, or something with its dtype, holds random keys."""
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def without_keys(tree: Any) -> Any:
    """The tree with random keys as the integers that they wrap."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def with_keys(tree: Any, like: Any) -> Any:
    """A tree as :func:`without_keys` gives it, with keys again where `like` has them."""
    return jax.tree.map(
        lambda x, o: jax.random.wrap_key_data(x, impl=jax.random.key_impl(o)) if is_key(o) else x, tree, like
    )
