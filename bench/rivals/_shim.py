"""What Brax's trainers have in common here: their arguments and their figures, on today's JAX."""

import argparse
import os
from collections.abc import Callable
from typing import Any

import jax
from _figures import Lap, cpu, figures

from nigt_jax.benchmark import train_by_brax


def prepare(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the command line, and splits a CPU into devices."""
    parser.add_argument("--backend", default="spring", help="physics pipeline of Brax")
    parser.add_argument("--lanes", type=int, default=256, help="environments stepped side by side, on all devices")
    cores = os.cpu_count() or 1
    parser.add_argument("--devices", type=int, default=cores, help="into how many a CPU is split; one for each core")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", args.devices)
    return args


def measure(contender: str, args: argparse.Namespace, train: Callable[..., Any], unit: int = 1) -> dict[str, Any]:
    """Trains as long as `args` says.

    Args:
      contender: its name.
      args: what it was told.
      train: takes a `progress_fn`.
      unit: environment steps in each of the steps that `progress_fn` is told of.

    Returns:
      The figures.
    """
    trained = train_by_brax(train, args.warm_up, args.repeats, unit)
    laps = [Lap(*lap) for lap in trained.laps]
    return figures(contender, args, laps, device(), ("jax", "brax"), trained.starting_seconds)


def device() -> str:
    """What JAX runs on, in words."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return cpu()
    return devices[0].device_kind + (f" x {len(devices)}" if len(devices) > 1 else "")
