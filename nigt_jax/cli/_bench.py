"""``nigt bench``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from nigt_jax.cli._options import add_settings, add_trust, check_code_beside, given_settings
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import Config, check_config, load_config
from nigt_jax.errors import UserError

_DESCRIPTION = """\
Throughput of this machine, stage by stage: physics alone, with the policy, through the trajectory queue, with every
step kept, with the gradient, and a whole round of training. Useful steps are those of episodes, up to their ends.
Without CONFIG: hopper, rounds of 1,024 episodes of at most 1,000 steps."""

_EPILOG = """\
A stage has a first figure once its program is compiled; no cache is used, and alike stages share one. For the table all
run in every turn, on the same episodes of an untrained policy; it has medians. The first two never end an episode, so
all their steps are useful. "of + policy" and "of + storage" are ratios of useful steps a second.

exit status: 0 done, also where parts of --accelerator failed, which then say why; 1 a file could not be written, or the
table where --json names none; 2 the input was wrong; 130 interrupted.

  nigt bench configs/default.yaml --training.spmd shard_map --json figures.json
  nigt bench --environment.name walker2d --training.lanes 64 --profile trace
  nigt bench --accelerator --json h100.json       the same again goes on with parts that are missing or failed
  nigt bench --compare h100.json a100.json"""

_DEFAULT = {
    "environment": {"name": "hopper", "backend": "spring", "horizon": 1000},
    "method": {"batch_size": 1024},
}
_TURNS = 7
_MOST_MACHINES = 26


def add_bench(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "bench",
        help="throughput of this machine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt bench [CONFIG] [--section.key VALUE ...] [--turns N] [--json FILE] [--profile DIR]\n"
        "       nigt bench --accelerator [--json FILE]\n"
        "       nigt bench --compare FILE FILE [FILE ...]",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="CONFIG", type=Path, nargs="?", help="YAML file, the same as of nigt train")
    parser.add_argument("--turns", metavar="N", type=int, help=f"turns of every stage (default: {_TURNS})")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all figures to this file")
    parser.add_argument(
        "--profile", metavar="DIR", type=Path, help="also trace a round, for Perfetto, and say what took the time"
    )
    parser.add_argument(
        "--accelerator", action="store_true", help="all parts of interest, each kept once it is done (some 8 minutes)"
    )
    parser.add_argument("--compare", metavar="FILE", type=Path, nargs="+", help="machines side by side, from --json")
    add_trust(parser)
    add_settings(parser)
    parser.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    if arguments.compare is not None:
        _refuse(arguments, "--compare", "accelerator", "json", "profile", "turns")
        return _compare(arguments.compare, console)
    for option in ("json", "profile"):
        path = getattr(arguments, option)
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"--{option}: got {path}, but there is no folder {path.parent}")
    if arguments.accelerator:
        _refuse(arguments, "--accelerator", "profile", "turns")
        return _accelerator(arguments.json, console)
    return _stages(arguments, console)


def _refuse(arguments: argparse.Namespace, option: str, *others: str) -> None:
    """Refuses what an option has no use for."""
    given = [f"--{other}" for other in others if getattr(arguments, other) not in (None, False)]
    given += [str(arguments.source)] if arguments.source is not None else []
    given += [f"--{setting}" for setting in given_settings(arguments)]
    if given:
        raise UserError(f"{given[0]}: not with {option}, which has sizes of its own or none")


def _stages(arguments: argparse.Namespace, console: Console) -> int:
    turns = _TURNS if arguments.turns is None else arguments.turns
    if not 1 <= turns <= 10_000:
        raise UserError(f"--turns: got {turns}, allowed: 1 to 10000")
    config = _config(arguments)
    # JAX is loaded here, after everything that can be wrong without it.
    from nigt_jax.benchmark import Row, measure, to_json, write_measured
    from nigt_jax.cli._process import prepare
    from nigt_jax.report import show_benchmark, show_stage

    def show(row: Row) -> None:
        show_stage(console, row)

    prepare(config)
    report = measure(config, turns, arguments.profile, _announcing(console), show)
    console.print()
    show_benchmark(console, report)
    if arguments.json is not None:
        write_measured(arguments.json, to_json(report))
    return 0 if arguments.json is not None or was_shown() else 1


def _accelerator(path: Path | None, console: Console) -> int:
    import jax

    from nigt_jax.benchmark import in_words, machine
    from nigt_jax.benchmark.accelerator import PARTS, measure_accelerator, open_figures, sizes_for
    from nigt_jax.cli._process import prepare
    from nigt_jax.report import show_part

    prepare(check_config(_DEFAULT, "nigt bench"))
    here = machine(jax.devices())
    sizes = sizes_for(here["platform"])
    found = open_figures(path, here, sizes._asdict())
    console.print(in_words(here), soft_wrap=True)
    if here["platform"] == "cpu":
        console.print("no accelerator: every part is small, and says little of a larger one", soft_wrap=True)
    announce = _announcing(console)
    measure_accelerator(found, PARTS, sizes, path, announce, lambda name, part: show_part(console, name, part))
    return 0 if path is not None or was_shown() else 1


def _compare(paths: list[Path], console: Console) -> int:
    if not 2 <= len(paths) <= _MOST_MACHINES:
        raise UserError(f"--compare: got {len(paths)} files, allowed: 2 to {_MOST_MACHINES}")
    from nigt_jax.benchmark import read_measured
    from nigt_jax.report import show_machines

    show_machines(console, [read_measured(path) for path in paths])
    return 0 if was_shown() else 1


def _announcing(console: Console) -> Any:
    """Says what is done next, where it takes long."""
    return lambda text: console.print(f"{text} ...", style="dim", soft_wrap=True)


def _config(arguments: argparse.Namespace) -> Config:
    overrides = given_settings(arguments)
    if arguments.source is not None:
        config = load_config(arguments.source, overrides)
        check_code_beside(arguments.source, config, arguments)
        return config
    return check_config(_DEFAULT, "nigt bench", overrides)
