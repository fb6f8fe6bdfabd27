"""``nigt train`` of a related system."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nigt_jax.cli._options import given_settings, refuse_with_resume
from nigt_jax.cli._running import Lines, begun, shown
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import SystemConfig, dump_config, load_system
from nigt_jax.records import RunFolder, check_output, open_system_run


def train_system(arguments: argparse.Namespace) -> int:
    """Runs the system that the configuration names, or goes on with its run."""
    overrides = given_settings(arguments)
    if arguments.resume:
        refuse_with_resume(arguments)
        folder, config = open_system_run(arguments.source, overrides)
        return _run(config, folder, resume=True)
    config = load_system(arguments.source, overrides)
    check_output(arguments.output or Path("runs"), arguments.name)
    if arguments.dry_run:
        _make(config)
        print(dump_config(config), end="")
        return 0 if was_shown() else 1
    return begun(arguments, config, lambda folder: _run(config, folder, resume=False))


def _make(config: SystemConfig) -> None:
    """Only to see that it can be made."""
    from nigt_jax.cli._process import quiet
    from nigt_jax.related import make_system

    quiet()
    make_system(config)


def _run(config: SystemConfig, folder: RunFolder, resume: bool) -> int:
    def load() -> Callable[..., Any]:
        from nigt_jax.cache import keep_compiled_programs
        from nigt_jax.cli._process import quiet
        from nigt_jax.related import train

        quiet()
        if config.training.compilation_cache:
            keep_compiled_programs()
        return functools.partial(train, config, folder.path, resume=resume)

    return shown(config, folder, load, _words)


def _words(summary: Any) -> Lines:
    totals = summary.totals
    return [
        *summary.results,
        ("counted", f"{totals.gradients:,} gradients, {totals.env_steps:,} steps"),
        ("sent", f"{totals.communications:,} messages, {totals.bytes_sent:,} bytes"),
        ("simulated", f"{summary.simulated_time:,.1f} time units"),
    ]
