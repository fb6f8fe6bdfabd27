"""Programs of the clocks, compiled for as long as they will run."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from nigt_jax.clocks import Clock
from nigt_jax.compilation import QUICK_OPTIONS, known_options

_FEW = 30  # workers


def sized(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Has a function of a clock compiled, with little effort where there are few workers to run it for.

    For few it takes longer to compile than to run. Times and counts are the same either way; a sum of float32 numbers
    may be rounded otherwise.

    Args:
      static: names of its arguments that are static; the clock is its first argument.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.cache
        def program(few: bool) -> Any:
            options = known_options(QUICK_OPTIONS) if few else {}
            return jax.jit(function, static_argnames=static, compiler_options=options)

        @functools.wraps(function)
        def call(clock: Clock, *others: Any) -> Any:
            return program(clock.workers <= _FEW)(clock, *others)

        return call

    return decorate
