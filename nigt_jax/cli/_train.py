"""``nigt train``."""

import argparse
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nigt_jax.cli._options import (
    add_folder,
    add_settings,
    add_trust,
    check_code,
    check_code_beside,
    given_settings,
    refuse_with_resume,
)
from nigt_jax.cli._related import train_system
from nigt_jax.cli._running import Lines, begun, shown
from nigt_jax.cli._streams import keep_descriptor_to_us, was_shown
from nigt_jax.config import Config, LockstepRuntimeConfig, SimulatedRuntimeConfig, dump_config, load_config, system_of
from nigt_jax.errors import UserError
from nigt_jax.records import RunFolder, check_output, check_sinks, open_run

_DESCRIPTION = """\
Train a policy. CONFIG is a YAML file; what it leaves out has its default, and every setting can be overridden by an
option. The run's folder holds config.yaml, metrics.jsonl and checkpoints/."""

_EPILOG = """\
exit status: 0 done; 1 the run could not go on; 2 the input was wrong; 130 interrupted (Ctrl-C, SIGTERM, SIGHUP), after
a checkpoint was written: nigt train RUN --resume goes on to the same numbers. A run does not need standard output: it
goes on where that cannot be written. --dry-run and --help then exit with 1, unless their reader has left.

  nigt train configs/default.yaml
  nigt train configs/quick.yaml --method.learning_rate 0.05 --name faster --output runs
  nigt train runs/faster --resume
  nigt train runs/faster --resume --training.iterations 600 --method.learning_rate 0.02
  nigt train configs/quick.yaml --policy.start runs/faster"""


def kind_of(arguments: Sequence[str]) -> Any:
    """The kind of configuration that `nigt train` is given: that of training, or of a related system.

    What cannot be read is told by the command itself, which knows more of it.
    """
    if list(arguments[:1]) != ["train"]:
        return Config
    for argument in arguments[1:]:
        path = Path(argument)
        with contextlib.suppress(UserError, OSError, ValueError):
            file = path / "config.yaml" if path.is_dir() else path
            if not argument.startswith("-") and file.is_file():
                return system_of(file) or Config
    return Config


def add_train(commands: Any, kind: Any) -> None:
    """Adds the command, with the options of a kind of configuration."""
    parser = commands.add_parser(
        "train",
        help="train a policy, or go on with a run",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt train CONFIG [--section.key VALUE ...] [--output DIR] [--name NAME] [--dry-run]\n"
        "       nigt train RUN --resume [--section.key VALUE ...] [--trust-code]",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="CONFIG", type=Path, help="YAML file; with --resume the folder of a run")
    add_folder(parser, "CONFIG's, with a number")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the configuration and exit")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run from its own folder")
    add_trust(parser)
    add_settings(parser, kind)
    parser.set_defaults(run=_train if kind is Config else train_system)


def _train(arguments: argparse.Namespace) -> int:
    overrides = given_settings(arguments)
    if arguments.resume:
        return _resume(arguments, overrides)
    config = load_config(arguments.source, overrides)
    check_code_beside(arguments.source, config, arguments)
    if not arguments.dry_run and _only_follows(config):
        return 0
    check_output(arguments.output or Path("runs"), arguments.name)
    if arguments.dry_run:
        _check_without_compiling(config)
        print(dump_config(config), end="")
        return 0 if was_shown() else 1
    return begun(arguments, config, lambda folder: _run(config, folder, resume=False))


def _check_without_compiling(config: Config) -> None:
    """What only JAX and the environment can tell: whether there are such devices, reward weights, times."""
    from nigt_jax.cli._process import prepare

    prepare(config)
    import jax

    from nigt_jax.runs import read_start
    from nigt_jax.runtimes import make_runtime

    check_sinks(config)
    training = dataclasses.replace(config.training, lanes=1)  # so that nothing is measured
    if isinstance(config.runtime, LockstepRuntimeConfig):  # no process is started to look at a configuration
        training = dataclasses.replace(training, devices="auto")
        config = dataclasses.replace(config, runtime=SimulatedRuntimeConfig())
    with jax.enable_x64(False):  # as training
        make_runtime(dataclasses.replace(config, training=training), start=read_start(config))


def _resume(arguments: argparse.Namespace, overrides: dict[str, str]) -> int:
    refuse_with_resume(arguments)
    folder, config = open_run(arguments.source, overrides)
    check_code(folder.path, config, arguments)
    return 0 if _only_follows(config) else _run(config, folder, resume=True)


def _only_follows(config: Config) -> bool:
    """Whether a scheduler has started this process to take part in the run of another one, which it then has done."""
    if not isinstance(config.runtime, LockstepRuntimeConfig):
        return False
    keep_descriptor_to_us()
    if config.runtime.processes is not None:  # it leads those that it starts
        return False
    from nigt_jax.cli._process import prepare

    prepare(config)
    from nigt_jax.runtimes import follow

    return follow(config)


def _run(config: Config, folder: RunFolder, resume: bool) -> int:
    def load() -> Callable[..., Any]:
        from nigt_jax.cli._process import prepare
        from nigt_jax.runs import train

        prepare(config, resume=resume)
        return functools.partial(train, config, folder.path, resume=resume)

    return shown(config, folder, load, functools.partial(_words, config))


def _words(config: Config, summary: Any) -> Lines:
    lines, first, last = [], summary.first_evaluation, summary.last_evaluation
    if last is not None:
        start = f"{first['return_mean']:.1f} ± {first['return_std']:.1f} -> " if first and first is not last else ""
        now = f"{last['return_mean']:.1f} ± {last['return_std']:.1f} (iteration {last['iteration']})"
        lines.append(("return", start + now))
    totals, real = summary.totals, config.runtime.real_time
    exchanged = f"{totals.communications:,} times, {totals.uploads:,} uploads, {totals.downloads:,} downloads"
    return [
        *lines,
        ("counted", f"{totals.gradients:,} gradients, {totals.env_steps:,} steps"),
        ("exchanged", exchanged),
        ("clock" if real else "simulated", f"{summary.simulated_time:,.1f} {'seconds' if real else 'time units'}"),
        ("devices", f"{summary.devices} ({summary.device_name}), {summary.lanes} lanes each"),
    ]
