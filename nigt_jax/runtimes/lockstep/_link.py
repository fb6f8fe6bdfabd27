"""What the process that leads tells the others. Each message is a collective, so all processes take part in all."""

import json
import math
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from nigt_jax.keys import with_keys, without_keys

_SHORT = 1024  # bytes; what is longer comes in a second message


def leads() -> bool:
    """Whether this process is the one that tells."""
    return jax.process_index() == 0


def tell(message: dict[str, Any] | None = None) -> dict[str, Any]:
    """Tells a message, JSON, and returns it, on the others, too: there it is None."""
    text = b"" if message is None else json.dumps(message).encode()
    first = np.zeros(_SHORT, np.uint8)
    head = np.frombuffer(len(text).to_bytes(4, "big") + text[: _SHORT - 4], np.uint8)
    first[: head.size] = head
    first = _from_the_leader(first)
    length = int.from_bytes(first[:4].tobytes(), "big")
    told = first[4 : 4 + length].tobytes()
    if length > _SHORT - 4:
        rest = np.zeros(length - (_SHORT - 4), np.uint8)
        if message is not None:
            rest[:] = np.frombuffer(text[_SHORT - 4 :], np.uint8)
        told += _from_the_leader(rest).tobytes()
    return json.loads(told)


def share(tree: Any, like: Any) -> Any:
    """Gives all processes what the leader has: a tree of arrays, keys too.

    Args:
      tree: what the leader has; the others may have anything.
      like: a tree of the same structure, shapes and dtypes, arrays or ShapeDtypeStructs.

    Returns:
      The leader's tree, on the host.
    """
    leaves, structure = jax.tree.flatten(jax.eval_shape(without_keys, like))
    sizes = [math.prod(x.shape) * x.dtype.itemsize for x in leaves]
    packed = np.zeros(sum(sizes), np.uint8)
    if leads():
        kept = [np.asarray(x) for x in jax.tree.leaves(without_keys(jax.device_get(tree)))]
        packed[:] = np.concatenate([np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in kept])
    pieces = np.split(_from_the_leader(packed), np.cumsum(sizes)[:-1])
    found = [piece.view(x.dtype).reshape(x.shape) for piece, x in zip(pieces, leaves, strict=True)]
    return with_keys(jax.tree.unflatten(structure, found), like)


def gather(number: int) -> list[int]:
    """A number of each process, in their order."""
    return [int(x) for x in np.ravel(multihost_utils.process_allgather(np.asarray([number], np.int32)))]


def say_goodbye() -> None:
    """Tells the others that there is nothing more to do."""
    tell({"do": "part"})


def _from_the_leader(array: np.ndarray) -> np.ndarray:
    return np.asarray(multihost_utils.broadcast_one_to_all(array, is_source=leads()))
