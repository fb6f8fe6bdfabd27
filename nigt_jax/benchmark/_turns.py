"""Programs that are compared take turns, so that all of them see the same machine."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def take_turns(programs: Mapping[str, Callable[[Any], Any]], state: Any, turns: int) -> dict[str, list[float]]:
    """Seconds that each program takes for the same argument, in each turn; in one all are run, one after the other.

    Args:
      programs: compiled, by name.
      state: the argument of all; it must not be used up.
      turns: number of turns that count; one more warms up.
    """
    took: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(turns + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            jax.block_until_ready(program(state))
            took[name].append(time.perf_counter() - started)
    return {name: seconds[1:] for name, seconds in took.items()}
