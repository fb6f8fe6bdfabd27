"""Memory maps of this process: compiled programs take thousands of them, and XLA ends it where there are no more."""

import gc
from pathlib import Path

import jax


def few_maps_are_left() -> bool:
    """Whether this process has a third of the memory maps that it may have."""
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        return 3 * len(Path("/proc/self/maps").read_bytes().splitlines()) > most
    except (OSError, ValueError):  # elsewhere than on Linux nobody counts
        return False


def forget_programs() -> None:
    """Gives back what compiled programs take that nobody has any more.

    JAX keeps whatever was mapped by pmap for as long as the process lives, unless its caches are emptied: all of them,
    so that what else was compiled by jit is compiled again when it is called.
    """
    jax.clear_caches()
    gc.collect()
