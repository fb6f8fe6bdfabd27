"""A run as a person sees it, of whatever kind it is: its folder, its display, and how it went in words."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from nigt_jax.cli._display import duration, make_display
from nigt_jax.cli._last_time import LastTime
from nigt_jax.config import Config, SystemConfig
from nigt_jax.interrupts import interruptions
from nigt_jax.records import RunFolder, create_run

Lines: TypeAlias = list[tuple[str, str]]


def begun(arguments: argparse.Namespace, config: Config | SystemConfig, run: Callable[[RunFolder], int]) -> int:
    """Makes the folder of a new run and runs it; the folder goes again where the run never begins."""
    output = arguments.output or Path("runs")
    folder = create_run(output, arguments.name, arguments.source.stem, config)
    try:
        return run(folder)
    except BaseException:
        folder.forget_if_empty()
        raise


def shown(
    config: Config | SystemConfig,
    folder: RunFolder,
    load: Callable[[], Callable[..., Any]],
    words: Callable[[Any], Lines],
) -> int:
    """Runs with a display, and prints how it went.

    Args:
      config: the run's configuration.
      folder: its folder.
      load: loads JAX and whatever else is slow, and returns what trains, which takes ``progress`` and ``interrupted``.
      words: what to tell of the summary that this returns: a word and a line each.

    Returns:
      The exit status.
    """
    # Bound to standard output as it is now: Brax is imported with its own silenced.
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=True)
    started = time.perf_counter()
    stopping = lambda: console.print("stopping after this chunk; Ctrl-C again to stop with what is computed by now")
    with interruptions(announce=stopping) as interrupted:
        console.print(f"run       {folder.path}")
        last_time = LastTime(config)
        console.print(f"loading JAX and compiling ... {last_time.in_words()}".rstrip(), style="dim")
        train = load()  # after everything that can be wrong without JAX
        display = make_display(console, config.training.ends)
        try:
            summary = train(progress=display.update, interrupted=interrupted)
        finally:
            display.close()
    if summary.compile_seconds:
        last_time.note(summary.compile_seconds)
    _tell(
        console, [*_stopped(summary, folder), *words(summary), *_spent(summary, time.perf_counter() - started, folder)]
    )
    return 130 if summary.interrupted else 0


def _tell(console: Console, lines: Lines) -> None:
    width = max(10, *(len(name) + 1 for name, _ in lines))
    for name, text in lines:
        console.print(f"{name:<{width}}{text}")


def _stopped(summary: Any, folder: RunFolder) -> Iterable[tuple[str, str]]:
    if summary.interrupted:
        yield "stopped", f"after iteration {summary.iteration}; go on with: nigt train {folder.path} --resume"


def _spent(summary: Any, seconds: float, folder: RunFolder) -> Iterable[tuple[str, str]]:
    spent = {"compiling": summary.compile_seconds, "training": summary.training_seconds}
    spent |= {"evaluating": summary.evaluation_seconds}
    spent |= {"the rest": max(0.0, seconds - sum(spent.values()))}
    yield "time", ", ".join(f"{duration(value)} {name}" for name, value in spent.items())
    files = sorted(path.name + "/" * path.is_dir() for path in folder.path.iterdir() if not path.name.startswith("."))
    yield "files", f"{', '.join(files)} in {folder.path}"
