"""``nigt bench``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from nigt_jax.cli._options import add_settings, add_trust, check_code_beside, given_settings
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import Config, check_config, load_config
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import write_whole

_DESCRIPTION = """\
Throughput of this machine, stage by stage: physics alone, with the policy, through the trajectory queue, with every
step kept, with the gradient, and a whole round of training. Useful steps are those of episodes, up to their ends.
Without CONFIG: hopper, rounds of 1,024 episodes of at most 1,000 steps."""

_EPILOG = """\
In every turn all stages are run, one after the other, from the same untrained policy and on the same episodes; the
table has medians. The first two never end an episode, so every step of theirs counts as useful. "of + policy" and
"of + storage" are ratios of useful steps a second. Compilation is apart, and no cache is used for it.

exit status: 0 done; 1 a file could not be written, or the table where --json names none; 2 the input was wrong; 130
interrupted.

  nigt bench
  nigt bench configs/default.yaml --training.spmd shard_map --json figures.json
  nigt bench --environment.name walker2d --training.lanes 64 --profile trace"""

_DEFAULT = {
    "environment": {"name": "hopper", "backend": "spring", "horizon": 1000},
    "method": {"batch_size": 1024},
}


def add_bench(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "bench",
        help="throughput of this machine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt bench [CONFIG] [--section.key VALUE ...] [--turns N] [--json FILE] [--profile DIR]",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="CONFIG", type=Path, nargs="?", help="YAML file, the same as of nigt train")
    parser.add_argument("--turns", metavar="N", type=int, default=7, help="turns of every stage (default: 7)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all figures to this file")
    parser.add_argument(
        "--profile",
        metavar="DIR",
        type=Path,
        help="also trace a round, cut short, for TensorBoard or Perfetto, and say what its operations were for",
    )
    add_trust(parser)
    add_settings(parser)
    parser.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.turns <= 10_000:
        raise UserError(f"--turns: got {arguments.turns}, allowed: 1 to 10000")
    config = _config(arguments)
    for option in ("json", "profile"):
        path = getattr(arguments, option)
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"--{option}: got {path}, but there is no folder {path.parent}")
    console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    # JAX is loaded here, after everything that can be wrong without it.
    from nigt_jax.benchmark import measure, to_json
    from nigt_jax.cli._process import prepare
    from nigt_jax.report import show_benchmark

    prepare(config)
    told = lambda stage: console.print(f"compiling {stage} ...", style="dim")
    try:
        report = measure(config, arguments.turns, arguments.profile, told)
        show_benchmark(console, report)
        if arguments.json is not None:
            write_whole(arguments.json, to_json(report))
    except OSError as error:
        raise RunError(f"{error.filename}: cannot be written: {error.strerror or error}") from error
    return 0 if arguments.json is not None or was_shown() else 1


def _config(arguments: argparse.Namespace) -> Config:
    overrides = given_settings(arguments)
    if arguments.source is not None:
        config = load_config(arguments.source, overrides)
        check_code_beside(arguments.source, config, arguments)
        return config
    return check_config(_DEFAULT, "nigt bench", overrides)
