"""Argument parsing that answers a mistake with one line."""

import argparse
import collections
import contextlib
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

import nigt_jax
from nigt_jax.config import Config, nearest_key
from nigt_jax.errors import UserError

_EPILOG = """\
nigt COMMAND --help explains a command; with --help-settings, those with settings explain these.

  nigt train configs/quick.yaml
  nigt train configs/quick.yaml --method.name afedpg --seed 1 --name mine
  nigt report runs/mine
  nigt simulate configs/default.yaml"""


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake raises UserError instead of printing a page of usage."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"^-[\d.]")  # argparse's own takes -1e-3 for an option

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every mistake."""
        raise UserError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments, or UserError; an option that does not exist is answered with the nearest that does."""
        parsed, rest = self.parse_known_args(arguments)
        for argument in rest:
            name = argument.split("=")[0]
            if name.startswith("--"):
                raise UserError(f"unknown option {name}; {_hint(name.removeprefix('--'), parsed)}")
        if rest:
            self.error(f"got {rest[0]!r}, which no argument takes")
        return parsed


def make_parser() -> tuple[Parser, Any]:
    """The parser of ``nigt``, and where commands add theirs."""
    parser = Parser(
        prog="nigt",
        description="Asynchronous distributed policy gradient: Rennala NIGT and its relatives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show versions, and the devices that JAX finds")
    return parser, parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)


class _Version(argparse.Action):
    """Shows versions and devices, and ends the command."""

    def __init__(self, **keywords: Any):
        super().__init__(nargs=0, default=argparse.SUPPRESS, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> None:
        del arguments
        others = [f"{name} {version(name)}" for name in ("jax", "brax", "mujoco", "optax")]
        print(f"nigt_jax {nigt_jax.__version__}")
        print(f"python {platform.python_version()}, {', '.join(others)}")
        print(f"devices: {_devices()}")
        parser.exit()


def _devices() -> str:
    """What JAX finds, in words."""
    import jax

    with contextlib.suppress(RuntimeError):
        kinds = collections.Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
        return ", ".join(f"{number} x {kind}" for kind, number in kinds.items())
    return "none that JAX can use"


def _hint(key: str, parsed: argparse.Namespace) -> str:
    near = nearest_key(key, kind=getattr(parsed, "kind", Config))
    return f"did you mean --{near}?" if near else f"see nigt {parsed.command} --help"
