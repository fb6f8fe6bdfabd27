"""``nigt render``."""

import argparse
from pathlib import Path
from typing import Any

from nigt_jax.cli._options import add_trained, add_trust
from nigt_jax.config import checked_seed
from nigt_jax.errors import UserError
from nigt_jax.records import code_of, open_run, refuse_strange_code

_DESCRIPTION = """\
Show the policy of a run in motion: an episode as one HTML page that opens from the disk and asks the network for
nothing, with the return so far. Where workers' environments differ, those in which the policy does best and worst."""

_EPILOG = """\
  nigt render runs/mine
  nigt render runs/mine --with-noise --seed 3 --output hop.html"""


def add_render(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "render",
        help="a run's policy in motion, as a page",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt render RUN [--output FILE.html] [--with-noise] [--seed N] [--iteration N]\n"
        "                       [--trust-code]",
        allow_abbrev=False,
    )
    add_trained(parser)
    add_trust(parser)
    parser.add_argument("--output", metavar="FILE.html", type=Path, help="the page (default: RUN/motion.html)")
    parser.add_argument("--with-noise", action="store_true", help="actions are drawn, as in training, and not the mode")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the episode (default: 0)")
    parser.set_defaults(run=_render)


def _render(arguments: argparse.Namespace) -> int:
    folder = arguments.run_folder
    _, config = open_run(folder, check_files=False)
    refuse_strange_code(folder, code_of(config, sinks=False), arguments.trust_code)
    output = arguments.output or folder / "motion.html"
    if not output.absolute().parent.is_dir():
        raise UserError(f"--output: got {output}, but there is no folder {output.parent}")
    checked_seed(arguments.seed)  # before evaluations that do not need it
    from nigt_jax.cli._process import prepare

    prepare(config, resume=True)
    from nigt_jax.report import Scene, write_motion
    from nigt_jax.runs import evaluate, record_episode

    own = {"noise": arguments.with_noise, "iteration": arguments.iteration}
    own["trust_code"] = True  # as it has been asked for by now
    worlds: dict[str, int | None] = {config.environment.name: None}
    if config.workers.differ:
        returns = evaluate(folder, **own)["return_by_worker"]
        best, worst = returns.index(max(returns)), returns.index(min(returns))
        worlds = {
            f"best: worker {best + 1}, mean return {returns[best]:,.1f}": best,
            f"worst: worker {worst + 1}, mean return {returns[worst]:,.1f}": worst,
        }
    options = own | {"seed": arguments.seed}
    scenes = [Scene(name, record_episode(folder, worker=worker, **options)) for name, worker in worlds.items()]
    episode = scenes[0].episode
    kind = "drawn from the policy" if arguments.with_noise else "the policy's mode"
    lead = f"{config.method.name} on {config.environment.name}, iteration {episode.iteration}; actions are {kind}."
    write_motion(output, f"{folder.absolute().name} in motion", lead, scenes)
    for scene in scenes:
        total, steps = scene.episode.rewards.sum(), len(scene.episode.rewards)
        print(f"episode   {scene.title}: return {total:,.2f} in {steps:,} steps")
    print(f"page      {output}")
    return 0
