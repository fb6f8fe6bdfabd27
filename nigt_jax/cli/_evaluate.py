"""``nigt evaluate``."""

import argparse
import json
from typing import Any

from nigt_jax.cli._options import add_trained, add_trust
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import checked_seed
from nigt_jax.records import code_of, open_run, refuse_strange_code

_DESCRIPTION = """\
Evaluate the policy of a run once more: with more episodes, on other ones, without noise, or of an older checkpoint."""

_EPILOG = """\
  nigt evaluate runs/mine --episodes 1000
  nigt evaluate runs/mine --without-noise --json"""


def add_evaluate(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "evaluate",
        help="a run's policy once more, with more episodes",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt evaluate RUN [--episodes N] [--without-noise] [--seed N] [--iteration N] [--json]\n"
        "                         [--trust-code]",
        allow_abbrev=False,
    )
    add_trained(parser)
    add_trust(parser)
    parser.add_argument("--episodes", metavar="N", type=int, help="how many (default: those of the run)")
    parser.add_argument("--without-noise", action="store_true", help="actions are the policy's mode, and not drawn")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="of the episodes (default: that of the run's evaluations)"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as one mapping")
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    folder, config = open_run(arguments.run_folder, check_files=False)
    refuse_strange_code(folder.path, code_of(config, sinks=False), arguments.trust_code)
    if arguments.seed is not None:
        checked_seed(arguments.seed)  # before JAX is loaded
    from nigt_jax.cli._process import prepare

    prepare(config, resume=True)
    from nigt_jax.runs import evaluate

    found = evaluate(
        arguments.run_folder,
        episodes=arguments.episodes,
        noise=not arguments.without_noise,
        seed=arguments.seed,
        iteration=arguments.iteration,
        trust_code=True,  # as it has been asked for by now
    )
    if arguments.json:
        print(json.dumps(found))
        return 0 if was_shown() else 1
    kind = "mode of the policy" if arguments.without_noise else "stochastic policy"
    print(f"iteration {found['iteration']}, {found['episodes']:,} episodes, {kind}")
    error, deviation = found["return_error"], found["return_std"]
    print(f"return    {found['return_mean']:,.2f} +- {error:,.2f} (between episodes {deviation:,.2f})")
    print(f"length    {found['episode_length_mean']:,.1f}")
    if found["evaluation_diverged"]:
        print(f"broken    {found['evaluation_diverged']:,} episodes broke the physics")
    for worker, value in enumerate(found.get("return_by_worker", ()), start=1):
        print(f"  worker {worker}  {value:,.2f}")
    return 0 if was_shown() else 1
