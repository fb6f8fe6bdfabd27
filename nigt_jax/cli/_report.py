"""``nigt report``."""

import argparse
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Figures (PNG and SVG) and one self-contained HTML page of sweeps, or of runs: returns against simulated time, gradients
and exchanges, times to a threshold with intervals, who is first and how sure that is, what workers do, what was tuned,
and how to run it again. The page opens from the disk and asks the network for nothing."""

_EPILOG = """\
  nigt report runs/mine
  nigt report runs/hopper runs/reacher --output both.html"""


def add_report(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report",
        help="figures and a page of runs or sweeps",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt report RUN|SWEEP_FOLDER ... [--output FILE.html] [--latex]",
        allow_abbrev=False,
    )
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+", help="of runs, or of sweeps")
    parser.add_argument(
        "--output", metavar="FILE.html", type=Path, help="the page; default report.html in the first folder"
    )
    parser.add_argument("--latex", action="store_true", help="also tables.tex: tables, settings, versions, citation")
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    from nigt_jax.report import write_report

    output = arguments.output or arguments.folders[0] / "report.html"
    page, *figures = write_report(arguments.folders, output, tex=arguments.latex, before_clocks=_use_cpu)
    print(f"page      {page}")
    if figures:
        print(f"beside it {len(figures)} files in {figures[0].parent}: figures and tables.md")
    return 0


def _use_cpu() -> None:
    from nigt_jax.cli._process import use_cpu

    use_cpu(keep_programs=False)
