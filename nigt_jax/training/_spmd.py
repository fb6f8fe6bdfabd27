"""One program on many devices: a per-device function over a named axis, replicated state in and out."""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nigt_jax.config import Config
from nigt_jax.errors import UserError

AXIS = "devices"


def claim_devices(config: Config) -> list[jax.Device]:
    """The devices that share a round's episodes.

    A CPU is split into as many virtual devices as asked for, or as it has cores: one of XLA's CPU devices hardly uses
    more than one core on small physics. Has to run before anything else has made JAX look for devices.

    Args:
      config: names the platform and the number; "auto" is the largest number available that divides the batch.

    Returns:
      The devices.

    Raises:
      UserError: there is no such platform, or not as many devices.
    """
    platform, wanted = config.training.platform, config.training.devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _split_cpu(cores if wanted == "auto" else wanted)
    try:
        here = ", ".join(sorted({d.platform for d in jax.devices()}))
    except (RuntimeError, AssertionError):
        asked = os.environ.get("JAX_PLATFORMS", "not set")
        raise UserError(f"JAX finds no device to run on; JAX_PLATFORMS is {asked}, cpu is always there") from None
    try:
        found = jax.devices(None if platform == "auto" else platform)
    except RuntimeError:
        raise UserError(f"training.platform: got {platform}, but JAX finds only: {here}") from None
    if wanted == "auto":
        count = max(k for k in range(1, len(found) + 1) if config.splits(k))
    elif wanted > len(found):
        raise UserError(f"training.devices: got {wanted}, but there are {len(found)} {found[0].platform} devices")
    else:
        count = wanted
    return found[:count]


def with_devices(config: Config, count: int) -> Config:
    """The configuration with its number of devices resolved, so that a run resumed elsewhere is the same program."""
    return dataclasses.replace(config, training=dataclasses.replace(config.training, devices=count))


def _split_cpu(parts: int) -> None:
    """Asks for at least so many virtual CPU devices, where it is not too late and nobody else has said how many."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has looked for devices already; what it found is what there is
            jax.config.update("jax_num_cpu_devices", max(parts, jax.config.jax_num_cpu_devices))  # type: ignore[attr-defined]


def keep_compiled_programs() -> None:
    """Has JAX keep what it compiles in the user's cache folder, unless JAX was already told of another.

    Programs are found again by their content, JAX's version and the device, so the folder can be deleted at any time.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "nigt_jax" / "xla"))


class Spmd:
    """Maps per-device functions over the axis ``devices``, by pmap or by shard_map, to the same numbers.

    Every argument and result is replicated: a device finds its own share by its index on the axis, and what devices
    find out apart they have to reduce themselves.
    """

    def __init__(self, kind: str, devices: list[jax.Device]):
        self.kind = kind
        self.devices = devices
        self._mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))

    def replicate(self, tree: Any) -> Any:
        """The tree on every device, in arrays that a mapped function takes and may overwrite."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def lower(self, function: Callable, *arguments: Any, donate_first: bool = False) -> "Lowered":
        """Traces `function` for arguments like these; ``.compile()`` makes it a program that never compiles again."""
        donate = (1,) if donate_first else ()
        # pmap wants something that is split: each device's number, which nobody reads.
        numbers = jax.device_put(np.arange(len(self.devices)), NamedSharding(self._mesh, PartitionSpec(AXIS)))
        numbered = lambda number, *args: function(*args)
        if self.kind == "pmap":
            axes = (0, *(None for _ in arguments))
            mapped = jax.pmap(numbered, AXIS, in_axes=axes, out_axes=None, donate_argnums=donate, devices=self.devices)
        else:
            specs = (PartitionSpec(AXIS), *(PartitionSpec() for _ in arguments))
            mapped = jax.jit(
                jax.shard_map(numbered, mesh=self._mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False),
                donate_argnums=donate,
            )
        return Lowered(mapped.lower(numbers, *arguments), numbers)


class Lowered:
    """A traced program, ready to be compiled."""

    def __init__(self, lowered: Any, numbers: jax.Array):
        self._lowered = lowered
        self._numbers = numbers

    def compile(self) -> Callable:
        """The program, for replicated arguments of the same shapes."""
        compiled = self._lowered.compile()
        return lambda *arguments: compiled(self._numbers, *arguments)
