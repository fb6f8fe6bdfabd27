"""What a run keeps in memory, known before anything is computed."""

import functools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.errors import UserError
from nigt_jax.runtimes._devices import of_this_process
from nigt_jax.training import Hyperparameters, Parts, initial_state

_COPIES = 2  # of the state: the one that a chunk begins with is kept on the host until it is done


def refuse_too_much(parts: Parts, hyperparameters: Hyperparameters, devices: list[jax.Device]) -> None:
    """Refuses a run whose state and episodes cannot fit into the memory of its devices.

    The count is a lower bound: the state of all workers, the first state of every episode of a block, a block's steps,
    and, where workers look at their own episodes, a gradient of each. What programs need beside that is XLA's affair.

    Args:
      parts: the run's parts.
      hyperparameters: the runs' hyperparameters.
      devices: the devices that share the work.

    Raises:
      UserError: names the largest part, its bytes and the bytes that there are.
    """
    there = _memory_of(devices)
    needed = bytes_needed(parts, hyperparameters, len(devices))
    if sum(needed.values()) > there:
        what = max(needed, key=needed.__getitem__)
        all_of_it = sum(needed.values())
        raise UserError(
            f"workers.count, training.block: {what} take {_gib(needed[what])} on each device, of {_gib(all_of_it)} in "
            f"all; allowed: {_gib(there)}, what a device has"
        )


def bytes_needed(parts: Parts, hyperparameters: Hyperparameters, devices: int = 1) -> dict[str, int]:
    """Bytes on one device, by what they are for; from abstract shapes, nothing is computed.

    Args:
      parts: the run's parts.
      hyperparameters: the runs' hyperparameters.
      devices: number of devices; they share one run's episodes, or have an equal number of runs each.
    """
    runs = hyperparameters.batch_size.shape[0] // (devices if parts.axis is None else 1)
    here = jax.tree.map(lambda x: jax.ShapeDtypeStruct((runs, *x.shape[1:]), x.dtype), hyperparameters)
    state = jax.eval_shape(functools.partial(initial_state, parts), here, jax.ShapeDtypeStruct((runs,), jnp.uint32))
    episodes = runs * max(parts.episodes * parts.method.plays, parts.server_episodes)
    numbers = parts.policy.observation_size + parts.policy.sample_size + 1
    return {
        "what workers were sent and keep": _COPIES * bytes_of((state.sent, state.workers, state.table)),
        "the rest of the state": _COPIES * bytes_of(state._replace(sent=(), workers=(), table=())),
        "the first states of a block's episodes": episodes * parts.first_bytes,
        "the steps of a block's episodes": 4 * numbers * parts.horizon * episodes,
        "gradients of single episodes": 0
        if parts.method.worker is None
        else parts.episodes * bytes_of(state.server.sent),
    }


def bytes_of(tree: Any) -> int:
    """Bytes of arrays, or of their shapes; a key is two numbers of 32 bits."""
    return sum(math.prod(x.shape) * _size(x.dtype) for x in jax.tree.leaves(tree))


def _size(dtype: Any) -> int:
    return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) else dtype.itemsize


def _memory_of(devices: list[jax.Device]) -> int:
    """Bytes of memory that each of the devices has."""
    here = of_this_process(devices)
    known = here[0].memory_stats() or {}
    if "bytes_limit" in known:
        return known["bytes_limit"]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // len(here)


def _gib(number: int) -> str:
    return f"{number / 2**30:.3g} GiB"
