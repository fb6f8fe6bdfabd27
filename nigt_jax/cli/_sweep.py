"""``nigt sweep``."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from nigt_jax.cli._display import duration
from nigt_jax.cli._options import add_folder, add_trust
from nigt_jax.cli._streams import was_shown
from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.interrupts import interruptions
from nigt_jax.records import check_output, refuse_strange_code
from nigt_jax.sweeps import PLAN, Progress, Result, Sweep, SweepFolder, create_sweep, load_sweep, open_sweep

_DESCRIPTION = """\
Run many configurations, as few programs as possible. SWEEP is a YAML file: a base configuration, variants of it and a
grid. The sweep's folder holds sweep.yaml, runs/ (a folder a run, as nigt train makes) and results.parquet, a row for
every run and evaluation."""

_EPILOG = """\
  base: ../default.yaml                    # a configuration, relative to this file
  overrides: {training.budget: 20000 gradients}                      # for all runs
  scenarios:                               # all variants in each of them
    equal: {workers.compute_time.worker_exponent: 0}
    uneven: {workers.compute_time.worker_exponent: 0.5}
  variants:                                # each with the whole grid; a grid of its own is possible, too
    rennala: {method.name: rennala_nigt, grid: {method.batch_size: [20, 50]}}
    afedpg: {method.name: afedpg}
  tune:                                    # may be left out: one of these is chosen for every variant, on other seeds
    seed: [100, 101]
    method.learning_rate: [0.015625, 0.03125, 0.0625]
  grid:
    seed: [0, 1, 2]

exit status: 0 done, also where single runs could not go on: they are named, and results.parquet says why; 1 the sweep
could not go on; 2 the input was wrong; 130 interrupted: nigt sweep FOLDER --resume goes on, after kill -9 too.

  nigt sweep configs/paper/quick/hopper.yaml --dry-run
  nigt sweep my.yaml --name mine --shard $SLURM_ARRAY_TASK_ID/8     in every task of a Slurm array 1-8, on one disk"""


def add_sweep(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sweep",
        help="train many configurations, or go on with a sweep",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt sweep SWEEP [--output DIR] [--name NAME] [--shard K/N] [--dry-run]\n"
        "       nigt sweep FOLDER --resume [--shard K/N] [--trust-code]",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SWEEP", type=Path, help="YAML file; with --resume the folder of a sweep")
    add_folder(parser, "SWEEP's, with a number")
    parser.add_argument(
        "--shard", metavar="K/N", help="run only every N-th program from the K-th on, of 1 to N; needs --name"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, say how much it is and exit")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted sweep from its own folder")
    add_trust(parser)
    parser.set_defaults(run=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=True)
    shard = _shard(arguments.shard)
    if arguments.resume:
        others = {"--output": arguments.output, "--name": arguments.name, "--dry-run": arguments.dry_run}
        given = [option for option, value in others.items() if value]
        if given:
            raise UserError(f"{given[0]}: not with --resume, which continues a sweep as it was")
        folder = open_sweep(arguments.source)
        refuse_strange_code(folder.path, folder.sweep.code, arguments.trust_code)
        _prepare(folder.sweep)
        return _run(console, folder, shard)
    if arguments.shard and arguments.name is None:
        raise UserError("--shard: got it without --name, allowed: the same --name for all of them")
    output = arguments.output or Path("runs")
    sweep = load_sweep(arguments.source)
    if (arguments.source.parent / PLAN).is_file():  # the file in a sweep's folder; any other is the user's own word
        refuse_strange_code(arguments.source.parent, sweep.code, arguments.trust_code)
    joins = bool(arguments.shard)
    if not joins:
        check_output(output, arguments.name)
    _prepare(sweep)
    import jax

    from nigt_jax.sweeps import plan_of, platform_of

    with jax.enable_x64(False):
        plan = plan_of(sweep.runs, platform_of(sweep.runs), shard[1])
        if arguments.dry_run:
            _say_how_much(console, sweep, plan)
            return 0 if was_shown() else 1
    folder = create_sweep(output, arguments.name, arguments.source.stem, sweep, plan, join=joins)
    return _run(console, folder, shard)


def _shard(given: str | None) -> tuple[int, int]:
    if given is None:
        return 1, 1
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", given)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard: got {given}, allowed: K/N with K from 1 to N")
    return int(found[1]), int(found[2])


def _prepare(sweep: Sweep) -> None:
    from nigt_jax.cli._process import look_here, prepare

    prepare(sweep.runs[0].config)
    if sweep.code:
        look_here()


def _say_how_much(console: Console, sweep: Sweep, plan: Any) -> None:
    """Runs, programs and steps; a program of each kind is made, though not compiled, so that it is known to be one."""
    from nigt_jax.sweeps import check_program

    runs = {run.name: run for run in sweep.runs}
    programs = [[runs[name] for name in names] for names in plan.programs]
    for program in programs:
        check_program(program)
    say = lambda name, text: console.print(f"{name:<12}{text}")
    stage = ", to tune " + ", ".join(sweep.tuned) if sweep.tuned else ""
    say("runs", f"{len(sweep.runs)}, of {len({run.variant for run in sweep.runs})} variants{stage}")
    if plan.twins:
        say("computed", f"{len(sweep.runs) - len(plan.twins)}; the others differ from one of these in times alone")
    for number, program in enumerate(programs, 1):
        variants = ", ".join(dict.fromkeys(run.variant for run in program))
        say(f"program {number}", f"{len(program)} runs ({variants})")
    steps = sum(most_steps(run.config) for program in programs for run in program)
    say("steps", f"up to {steps:,.0f} of the environment")
    if sweep.tuned:
        say("then", f"{sweep.reported} runs with what was chosen, in programs that depend on it")


def most_steps(config: Config) -> float:
    """Steps that a run makes at most, evaluations not included; infinite where only simulated time ends it."""
    method, horizon = config.method, config.environment.horizon
    each = method.trajectories_per_gradient * horizon
    per = {
        "iterations": method.gradients_per_update * each,
        "gradients": each,
        "env_steps": 1,
        "simulated_time": float("inf"),
    }
    return min(end.number * per[end.unit] for end in config.training.ends)


def _run(console: Console, folder: SweepFolder, shard: tuple[int, int]) -> int:
    from nigt_jax.sweeps import run_sweep

    started = time.perf_counter()
    stopping = lambda: console.print("stopping after this chunk; Ctrl-C again to stop with what is computed by now")
    console.print(f"sweep     {folder.path}")
    console.print("loading JAX and compiling ...", style="dim")
    with interruptions(announce=stopping) as interrupted:
        result = run_sweep(folder, progress=_Lines(console, folder.path.name), interrupted=interrupted, shard=shard)
    _print_summary(console, folder, result, time.perf_counter() - started)
    return 130 if result.interrupted else 0


class _Lines:
    """A line now and then: at every twentieth of the sweep, and at every new program."""

    def __init__(self, console: Console, name: str):
        self._console, self._name, self._next, self._program = console, name, 0.0, 0

    def __call__(self, now: Progress) -> None:
        if now.program == self._program and now.fraction_done < self._next:
            return
        self._program, self._next = now.program, now.fraction_done + 0.05
        rate = f"{now.steps_per_second:,.0f}" if now.steps_per_second else "-"
        left = duration(now.seconds_left)
        self._console.print(
            f"{self._name}  program {now.program}/{now.programs}  runs done {now.runs_done}/{now.runs}  "
            f"{now.fraction_done:4.0%}  useful steps/s {rate}  time left {left}"
        )


def _print_summary(console: Console, folder: SweepFolder, result: Result, seconds: float) -> None:
    say = lambda name, text: console.print(f"{name:<10}{text}")
    if result.interrupted:
        say("stopped", f"go on with: nigt sweep {folder.path} --resume")
    if result.waiting:
        say("waiting", "the runs with what is tuned come once all shards have tuned: then run the same command again")
    say("runs", f"{result.runs_done} done, {len(result.failed)} of them broke")
    for name, why in list(result.failed.items())[:10]:
        say("broke", f"{name}: {why}")
    say("time", duration(seconds))
    chosen = "chosen.json, " if folder.sweep.tuned and folder.tuned else ""
    say("files", f"{chosen}results.parquet, runs/, sweep.yaml in {folder.path}")
