"""Brax's trainers on today's JAX: what they miss of it, and a clock for their epochs.

They miss `jax.device_put_replicated`, which Brax 0.14.2 calls in ppo and apg and JAX 0.10 no longer has; nothing else.
"""

import argparse
import contextlib
import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _figures import Lap, cpu, figures
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class _EnoughError(Exception):
    """Raised from within a trainer to end it."""


class _Laps:
    """A `progress_fn` that notes the steps and seconds of every epoch, and ends training when it has enough.

    The seconds are Brax's own `training/walltime`, which stands still while it evaluates. Its `training/sps` is no use:
    that of es counts steps after the end of an episode, that of apg the steps of one device only.
    """

    def __init__(self, number: int):
        self._number = number
        self._marks = [(0, 0.0)]

    def __call__(self, steps: int, metrics: dict[str, Any]) -> None:
        if "training/walltime" not in metrics:  # an evaluation before training
            return
        self._marks.append((steps, float(metrics["training/walltime"])))
        if len(self._marks) > self._number:
            raise _EnoughError

    def laps(self, unit: int) -> list[Lap]:
        return [Lap((b[0] - a[0]) * unit, b[1] - a[1]) for a, b in itertools.pairwise(self._marks)]


def prepare(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the command line, splits a CPU into devices and gives JAX back what it has dropped."""
    parser.add_argument("--backend", default="spring", help="physics pipeline of Brax")
    parser.add_argument("--lanes", type=int, default=256, help="environments stepped side by side, on all devices")
    cores = os.cpu_count() or 1
    parser.add_argument("--devices", type=int, default=cores, help="into how many a CPU is split; one for each core")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", args.devices)
    jax.device_put_replicated = _replicate
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
    clock = _Laps(args.warm_up + args.repeats)
    with contextlib.suppress(_EnoughError):
        train(progress_fn=clock)
    laps = clock.laps(unit)
    warm_up, timed = laps[: args.warm_up], laps[args.warm_up :]
    # es and apg compile twice: the state that an epoch returns has other types than the one it starts with.
    usual = statistics.median(lap.seconds for lap in timed)
    compile_seconds = sum(lap.seconds - usual for lap in warm_up)
    return figures(contender, args, timed, device(), ("jax", "brax"), compile_seconds)


def device() -> str:
    """What JAX runs on, in words."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return cpu()
    return devices[0].device_kind + (f" x {len(devices)}" if len(devices) > 1 else "")


def _replicate(x: Any, devices: Sequence[Any]) -> Any:
    """`jax.device_put_replicated`: arrays with a leading axis of devices, the same values on each."""
    sharding = NamedSharding(Mesh(np.array(devices), ("devices",)), PartitionSpec("devices"))
    put = lambda leaf: jax.device_put(jnp.broadcast_to(leaf, (len(devices), *jnp.shape(leaf))), sharding)
    return jax.tree.map(put, x)
