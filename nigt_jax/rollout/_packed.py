"""A tree of many small arrays as a few large ones.

An environment's state has from a few to more than a hundred arrays, and whoever takes, chooses or keeps them one by one
does as many operations, each of which XLA compiles and starts by itself. So states are packed on a CPU. On other
devices they stay loose: nobody has measured there what packing costs or saves.
"""

import collections
import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class _Leaf(NamedTuple):
    """Where a leaf is.

    Attributes:
      dtype: in the array of this dtype.
      start: from this row on.
      shape: its shape without the last axis; of keys, that of their data.
      keys: of keys, their kind.
    """

    dtype: str
    start: int
    shape: tuple[int, ...]
    keys: Any

    @property
    def rows(self) -> int:
        return math.prod(self.shape)


class _Layout(NamedTuple):
    """What a packed tree looks like unpacked."""

    structure: Any
    leaves: tuple[_Leaf, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packed:
    """A tree whose leaves have the same last axis, in one array for each dtype.

    It is a tree itself: what is done to the last axis of the whole, such as taking some lanes, is done to its arrays.

    Attributes:
      arrays: by dtype, [rows, lanes]; the rows are all numbers of the leaves, one leaf after the other.
      layout: where which leaf is.
    """

    arrays: dict[str, Any]  # Any: JAX also builds trees whose leaves stand for arrays and are none
    layout: _Layout = dataclasses.field(metadata={"static": True})

    def tree(self) -> Any:
        """The tree that was packed."""
        lanes = next(iter(self.arrays.values())).shape[-1]

        def taken(leaf: _Leaf) -> jax.Array:
            if not leaf.rows:
                return jnp.zeros((*leaf.shape, lanes), leaf.dtype)
            rows = self.arrays[leaf.dtype][leaf.start : leaf.start + leaf.rows]
            whole = rows.reshape(*leaf.shape, lanes)
            return whole if leaf.keys is None else jax.random.wrap_key_data(jnp.moveaxis(whole, -2, -1), impl=leaf.keys)

        return self.layout.structure.unflatten([taken(leaf) for leaf in self.layout.leaves])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loose:
    """A tree that stays as it is, for whoever would also take a packed one."""

    whole: Any

    def tree(self) -> Any:
        """The tree."""
        return self.whole


def pack(tree: Any) -> Packed:
    """Packs a tree whose leaves all have the same last axis, and of which one at least has entries."""
    leaves, structure = jax.tree.flatten(tree)
    parts: dict[str, list[jax.Array]] = collections.defaultdict(list)
    rows: collections.Counter[str] = collections.Counter()
    places = []
    for x in leaves:
        kind = jax.random.key_impl(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else None
        x = x if kind is None else jnp.moveaxis(jax.random.key_data(x), -1, -2)
        place = _Leaf(str(x.dtype), rows[str(x.dtype)], x.shape[:-1], kind)
        rows[place.dtype] += place.rows
        places.append(place)
        if place.rows:  # XLA breaks off the whole process where an array without entries is put beside others
            parts[place.dtype].append(x.reshape(place.rows, x.shape[-1]))
    arrays = {dtype: jnp.concatenate(of_dtype) for dtype, of_dtype in parts.items()}
    return Packed(arrays, _Layout(structure, tuple(places)))
