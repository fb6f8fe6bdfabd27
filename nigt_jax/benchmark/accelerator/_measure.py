"""Part after part, each of which is kept before the next begins."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark._measure import without_cache
from nigt_jax.benchmark.accelerator._file import write_figures
from nigt_jax.benchmark.accelerator._parts import Part
from nigt_jax.benchmark.accelerator._sizes import Sizes
from nigt_jax.imports import said
from nigt_jax.runtimes import forget_programs

_LONGEST = 300  # letters of an error


def measure_accelerator(
    found: dict[str, Any],
    parts: Mapping[str, Part],
    sizes: Sizes,
    path: Path | None = None,
    announce: Callable[[str], None] = lambda name: None,
    show: Callable[[str, dict[str, Any]], None] = lambda name, part: None,
) -> dict[str, Any]:
    """Measures the parts that are missing, or have failed before.

    A part is {"seconds", "figures"}, or {"seconds", "error"} where it has failed; the others go on.

    Args:
      found: what is known, as of :func:`open_figures`; parts are added to it.
      parts: all there are, by name.
      sizes: how much of each.
      path: the file that is written after every part; None for none.
      announce: told of every part before it begins.
      show: given every part that is done, those that were known, too.

    Returns:
      The same figures.

    Raises:
      RunError: the file cannot be written.
    """
    for name, part in parts.items():
        if "figures" not in found["parts"].get(name, {}):
            announce(name)
            found["parts"][name] = _measured(part, sizes)
            write_figures(path, found)
        show(name, found["parts"][name])
    return found


def _measured(part: Part, sizes: Sizes) -> dict[str, Any]:
    """A part's figures, or the first line of what went wrong."""
    started = time.perf_counter()
    try:
        with without_cache(), jax.enable_x64(False):
            outcome: dict[str, Any] = {"figures": part(sizes)}
    except Exception as error:  # whatever it is, such as too little memory or a package that is missing
        outcome = {"error": said(error)[:_LONGEST]}
    forget_programs()
    return {"seconds": time.perf_counter() - started} | outcome
