"""``nigt simulate``."""

import argparse
import sys
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from nigt_jax.cli._options import add_folder, add_settings, given_settings
from nigt_jax.config import LARGEST_BATCH, Config, RennalaNigt, check_config, converted, load_config, settings_from
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import check_output, create_run, write_whole
from nigt_jax.simulation import batch_needed

_DESCRIPTION = """\
Play the clocks of all methods on the workers of CONFIG, without an environment, and answer: these are my workers'
speeds and my link; which method, and which M? Prints a table, and writes simulation.json, config.yaml and timeline.png
(what every worker does in the first rounds of method.name) to a new folder."""

_EPILOG = """\
What is compared: the simulated time of a round whose direction is equally noisy. One gradient has a standard deviation
sigma. A round of M gradients has sigma / sqrt(M); momentum averages rounds, so that a direction has
sigma * sqrt(eta / ((2 - eta) * M)), with eta = 1 - method.momentum, and eta = 1 for the methods of plain ascent. From
--target-noise follows the least M that each method needs, and from that the time of its rounds. Noise is not progress:
see docs/simulate.md for what this does not say.

exit status: 0 done, also where standard output cannot be written; 1 the files could not be written; 2 the input was
wrong; 130 interrupted.

  nigt simulate configs/default.yaml
  nigt simulate workers.csv                     workers from a file, or recorded times; docs/methods.md
  nigt simulate configs/default.yaml --target-noise 0.05 --workers.topology shared-link
  nigt simulate configs/default.yaml --workers.noise.family lognormal --workers.count 100 --rounds 500"""

_MOST_ROUNDS = 1_000_000


def add_simulate(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "simulate",
        help="compare methods by their clocks alone: which one, and which M?",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt simulate CONFIG [--section.key VALUE ...] [--rounds N] [--target-noise R] [--parameters D]\n"
        "                     [--output DIR] [--name NAME]",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", metavar="CONFIG", type=Path, help="YAML file, the same as of nigt train; or workers.csv"
    )
    parser.add_argument("--rounds", metavar="N", type=int, default=100, help="rounds of each method (default: 100)")
    parser.add_argument(
        "--target-noise",
        metavar="R",
        type=float,
        help="standard deviation that a direction may have, in units of that of one gradient: 0.1 is as good as the "
        "mean of 100 gradients (default: what CONFIG's own method, M and momentum have)",
    )
    parser.add_argument(
        "--parameters",
        metavar="D",
        type=int,
        help="number of policy parameters; needed only where a parameter_exponent is not 0",
    )
    add_folder(parser, "simulate-CONFIG, with a number")
    add_settings(parser)
    parser.set_defaults(run=_simulate)


def _load(source: Path, overrides: dict[str, str]) -> Config:
    if source.suffix in (".csv", ".parquet"):
        return check_config(settings_from(str(source)), str(source), overrides)
    return load_config(source, overrides)


def _simulate(arguments: argparse.Namespace) -> int:
    config = _load(arguments.source, given_settings(arguments))
    _check(arguments, config)
    output = arguments.output or Path("runs")
    check_output(output, arguments.name)
    if sys.stdout.isatty():
        console = Console(markup=False, emoji=False, highlight=False)
    else:
        console = Console(markup=False, emoji=False, highlight=False, width=120)  # no terminal, no width
    _run(config, arguments, output, console)
    return 0


def _check(arguments: argparse.Namespace, config: Config) -> None:
    """What is wrong with this command's own options."""
    rounds, noise, parameters = arguments.rounds, arguments.target_noise, arguments.parameters
    if not 1 <= rounds <= _MOST_ROUNDS:
        raise UserError(f"--rounds: got {rounds}, allowed: 1 to {_MOST_ROUNDS}")
    if parameters is not None and not 1 <= parameters <= 10**15:
        raise UserError(f"--parameters: got {parameters}, allowed: 1 to 10^15")
    if noise is not None:
        if not 1e-9 <= noise <= 1:
            raise UserError(f"--target-noise: got {noise}, allowed: above 0, up to 1, the noise of a single gradient")
        rennala = cast(RennalaNigt, converted(config.method, "rennala_nigt"))
        needed = batch_needed(rennala.newest_weight, noise)
        if needed > LARGEST_BATCH:
            raise UserError(
                f"--target-noise: got {noise}, which with momentum {rennala.momentum:g} takes rounds of "
                f"{needed:,} gradients, allowed: what {LARGEST_BATCH:,} or fewer reach"
            )
    for name in ("compute_time", "communication_time"):
        law = getattr(config.workers, name)
        used = not (name == "compute_time" and config.workers.trace is not None)
        if used and law.parameter_exponent != 0 and parameters is None:
            raise UserError(
                f"--parameters: not given, but workers.{name}.parameter_exponent is {law.parameter_exponent:g}: "
                "give the number of policy parameters"
            )


def _run(config: Config, arguments: argparse.Namespace, output: Path, console: Console) -> None:
    # JAX is loaded here, after everything that can be wrong without it.
    from nigt_jax.cli._process import use_cpu
    from nigt_jax.report import show_comparison
    from nigt_jax.simulation import answer, make_timeline, to_json

    use_cpu(keep_programs=config.training.compilation_cache)
    told = lambda name: console.print(f"simulating {name} ...", style="dim")
    parameters = arguments.parameters or 1
    comparison, found = answer(config, arguments.rounds, arguments.target_noise, parameters=parameters, progress=told)
    timeline = make_timeline(config, parameters=parameters)
    show_comparison(console, comparison, found)
    folder = create_run(output, arguments.name, f"simulate-{arguments.source.stem}", config)
    try:
        write_whole(folder.path / "simulation.json", to_json(comparison, found, arguments.parameters))
        if timeline is not None:
            from nigt_jax.report import draw_timeline  # with Matplotlib

            draw_timeline(timeline, folder.path / "timeline.png")
    except OSError as error:
        raise RunError(f"{error.filename or folder.path}: cannot be written: {error.strerror or error}") from error
    picture = "timeline.png" if timeline is not None else "no timeline.png (too many gradients to draw)"
    console.print(f"files      simulation.json, config.yaml, {picture} in {folder.path}", soft_wrap=True)
