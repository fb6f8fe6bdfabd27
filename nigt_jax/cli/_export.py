"""``nigt export``."""

import argparse
from pathlib import Path
from typing import Any

from nigt_jax.cli._options import add_trained

_DESCRIPTION = """\
Write the policy of a run as plain arrays (policy.npz) and JSON (policy.json), and beside them policy.py, which acts
with NumPy alone. Neither the environment nor this package is needed to use them; nigt_jax.load_policy takes the folder,
too."""

_EPILOG = """\
  nigt export runs/mine
  nigt export runs/mine --iteration 200 --output policies/mine-200"""


def add_export(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "export",
        help="a run's policy as arrays and JSON, for NumPy",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nigt export RUN [--output FOLDER] [--iteration N] [--onnx]",
        allow_abbrev=False,
    )
    add_trained(parser)
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="a new folder (default: RUN/policy)")
    parser.add_argument("--onnx", action="store_true", help="also as policy.onnx, the policy without noise")
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    from nigt_jax.cli._process import use_cpu

    use_cpu(keep_programs=False)
    from nigt_jax.runs import export

    folder = arguments.output or arguments.run_folder / "policy"
    trained = export(arguments.run_folder, folder, iteration=arguments.iteration, onnx=arguments.onnx)
    files = ["policy.npz", "policy.json", "policy.py", *(["policy.onnx"] if arguments.onnx else [])]
    print(f"policy    of iteration {trained.iteration} in {folder}: {', '.join(files)}")
    return 0
