"""``nigt train`` of a related system."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from nigt_jax.cli._display import duration, make_display
from nigt_jax.cli._options import given_settings, refuse_with_resume
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import SystemConfig, dump_config, load_system
from nigt_jax.interrupts import interruptions
from nigt_jax.records import RunFolder, check_output, create_run, open_system_run


def train_system(arguments: argparse.Namespace) -> int:
    """Runs the system that the configuration names, or goes on with its run."""
    overrides = given_settings(arguments)
    if arguments.resume:
        refuse_with_resume(arguments)
        folder, config = open_system_run(arguments.source, overrides)
        return _run(config, folder, resume=True)
    config, output = load_system(arguments.source, overrides), arguments.output or Path("runs")
    check_output(output, arguments.name)
    if arguments.dry_run:
        _make(config)
        print(dump_config(config), end="")
        return 0 if was_shown() else 1
    folder = create_run(output, arguments.name, arguments.source.stem, config)
    try:
        return _run(config, folder, resume=False)
    except BaseException:
        folder.forget_if_empty()
        raise


def _make(config: SystemConfig) -> None:
    """Only to see that it can be made."""
    from nigt_jax.cli._process import quiet
    from nigt_jax.related import make_system

    quiet()
    make_system(config)


def _run(config: SystemConfig, folder: RunFolder, resume: bool) -> int:
    # Bound to standard output as it is now: libraries are imported with their own silenced.
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=True)
    started = time.perf_counter()
    stopping = lambda: console.print("stopping after this chunk; Ctrl-C again to stop with what is computed by now")
    with interruptions(announce=stopping) as interrupted:
        console.print(f"run       {folder.path}")
        console.print("loading JAX and compiling ...", style="dim")
        from nigt_jax.cache import keep_compiled_programs
        from nigt_jax.cli._process import quiet
        from nigt_jax.related import train

        quiet()
        if config.training.compilation_cache:
            keep_compiled_programs()
        display = make_display(console, config.training.ends)
        try:
            summary = train(config, folder.path, resume=resume, progress=display.update, interrupted=interrupted)
        finally:
            display.close()
    _print_summary(console, summary, folder, time.perf_counter() - started)
    return 130 if summary.interrupted else 0


def _print_summary(console: Console, summary: Any, folder: RunFolder, seconds: float) -> None:
    width = max([10, *(len(name) + 2 for name, _ in summary.results)])
    say = lambda name, text: console.print(f"{name:<{width}}{text}")
    if summary.interrupted:
        say("stopped", f"after iteration {summary.iteration}; go on with: nigt train {folder.path} --resume")
    for name, text in summary.results:
        say(name, text)
    counted = dataclasses.asdict(summary.totals)
    say("counted", f"{counted['gradients']:,} gradients, {counted['env_steps']:,} steps")
    say("sent", f"{counted['communications']:,} messages, {counted['bytes_sent']:,} bytes")
    say("simulated", f"{summary.simulated_time:,.1f} time units")
    spent = {"compiling": summary.compile_seconds, "computing": summary.training_seconds}
    spent |= {"evaluating": summary.evaluation_seconds}
    spent |= {"the rest": max(0.0, seconds - sum(spent.values()))}
    say("time", ", ".join(f"{duration(value)} {name}" for name, value in spent.items()))
    files = sorted(path.name + "/" * path.is_dir() for path in folder.path.iterdir() if not path.name.startswith("."))
    say("files", f"{', '.join(files)} in {folder.path}")
