"""What every contender has in common: its arguments, and the one line of JSON that it prints."""

import argparse
import importlib.metadata
import os
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Lap(NamedTuple):
    """A stretch of training.

    Attributes:
      steps: environment steps that an update learnt from.
      seconds: that it took.
    """

    steps: int
    seconds: float


def arguments(description: str | None, repeats: int, warm_up: int) -> argparse.ArgumentParser:
    """A parser of what every contender can be told.

    Args:
      description: of the contender.
      repeats: how many laps are timed, unless it is told otherwise.
      warm_up: how many are run before.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="hopper", help="environment, by its name in Brax")
    parser.add_argument("--horizon", type=int, default=200, help="length at which an episode is cut, in steps")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64], help="widths of hidden layers")
    parser.add_argument("--repeats", type=int, default=repeats, help="stretches of training that are timed")
    parser.add_argument("--warm-up", type=int, default=warm_up, help="stretches before them that are not")
    return parser


def figures(
    contender: str,
    args: argparse.Namespace,
    laps: Sequence[Lap],
    device: str,
    packages: Iterable[str],
    starting_seconds: float,
) -> dict[str, Any]:
    """What is to be printed. `load` is that of the whole machine over the last minute, whoever caused it.

    Args:
      contender: its name.
      args: what it was told.
      laps: those that count.
      device: in words.
      packages: those whose versions matter.
      starting_seconds: what starting took, which is in no lap.
    """
    rates = [lap.steps / lap.seconds for lap in laps]
    return {
        "contender": contender,
        "device": device,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "settings": vars(args),
        "starting_seconds": starting_seconds,
        "env_steps": sum(lap.steps for lap in laps),
        "seconds": sum(lap.seconds for lap in laps),
        "env_steps_per_second": statistics.median(rates),
        "min": min(rates),
        "max": max(rates),
        "load": os.getloadavg()[0],
    }


def cpu() -> str:
    """The processor in words."""
    return f"{os.cpu_count()} CPU cores"
