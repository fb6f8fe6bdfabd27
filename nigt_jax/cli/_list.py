"""``nigt list``."""

import argparse
import inspect
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from nigt_jax.cli._streams import was_shown
from nigt_jax.config import ENVIRONMENTS, NOISES, SYSTEMS, TAGGED, TOPOLOGIES

_EPILOG = """\
  nigt list methods
  nigt list environments --json"""


def add_list(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "list",
        help="methods, environments, estimators, clocks, transforms or related systems",
        description="What there is to choose from, each with a line that says what it is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("kind", choices=tuple(_KINDS), help=f"one of {', '.join(_KINDS)}", metavar="KIND")
    parser.add_argument("--json", action="store_true", help="as a list of mappings")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    found = _KINDS[arguments.kind]()
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0 if was_shown() else 1
    console = Console(highlight=False)
    columns = ("setting", "name") if len({row.get("setting") for row in found}) > 1 else ("name",)
    widths = {column: max(len(row[column]) for row in found) for column in columns}
    for row in found:
        start = "  ".join(f"{row[column]:<{width}}" for column, width in widths.items())
        console.print(f"{start}  {row['about']}", soft_wrap=True, markup=False)
    return 0 if was_shown() else 1


def _tagged(section: str) -> list[dict[str, str]]:
    kinds = TAGGED[section].kinds.items()
    return [
        {"name": name, "about": _first_line(kind), "setting": f"{section}.{TAGGED[section].by}"} for name, kind in kinds
    ]


def _environments() -> list[dict[str, str]]:
    own = {"module:Class": _first_line(TAGGED["environment"].kinds["module:Class"])}
    every = (ENVIRONMENTS | own).items()
    return [{"name": name, "about": about, "setting": "environment.name"} for name, about in every]


def _clocks() -> list[dict[str, str]]:
    """How long gradients may take, and what exchanges may cost."""
    ways = {
        "compute_time": "a law of the worker's number, or a time or a speed for each worker",
        "speed": "workers that are slower or faster for a while: nights, outages",
        "trace": "recorded times from a file, such as durations.csv of a run on a cluster",
    }
    return [
        *({"name": "", "about": about, "setting": f"workers.{name}"} for name, about in ways.items()),
        *({"name": name, "about": about, "setting": "workers.noise.family"} for name, about in NOISES.items()),
        *({"name": name, "about": about, "setting": "workers.topology"} for name, about in TOPOLOGIES.items()),
    ]


def _transforms() -> list[dict[str, str]]:
    from nigt_jax import transforms

    public = [(name, getattr(transforms, name)) for name in transforms.__all__]
    return [
        {"name": name, "about": _first_line(each), "signature": f"{name}{_signature(each)}"}
        for name, each in public
        if inspect.isfunction(each)
    ]


def _signature(function: Any) -> str:
    return f"({', '.join(inspect.signature(function).parameters)})"


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


_KINDS: dict[str, Callable[[], list[dict[str, str]]]] = {
    "methods": lambda: _tagged("method"),
    "environments": _environments,
    "estimators": lambda: _tagged("estimator"),
    "clocks": _clocks,
    "transforms": _transforms,
    "systems": lambda: [
        {"name": name, "about": _first_line(kind), "setting": "system"} for name, kind in SYSTEMS.items()
    ],
}
