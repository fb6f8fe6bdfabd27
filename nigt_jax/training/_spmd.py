"""One program on many devices: a per-device function over a named axis, replicated state in and out."""

import contextlib
import os
import platform
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from nigt_jax.config import Config
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.training._compile import compile_options

AXIS = "devices"
_SPLITS = "xla_force_host_platform_device_count"


def claim_devices(config: Config, splits: Callable[[int], bool], had: int | None = None) -> list[jax.Device]:
    """The devices that share a round's episodes, or many runs.

    A CPU is split into as many virtual devices as asked for, or as it has cores: one of XLA's CPU devices hardly uses
    more than one core on small physics. Has to run before anything else has made JAX look for devices. Where it was too
    late for that, and "auto" gets fewer than it could, it warns.

    Args:
      config: names the platform and the number; "auto" is the largest number available that splits the work.
      splits: whether so many devices can share the work.
      had: how many the run had until now; "auto" is again this number if there are so many.

    Returns:
      The devices.

    Raises:
      UserError: there is no such platform, or not as many devices.
    """
    wanted = config.training.devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = max(cores, had or 0) if wanted == "auto" else wanted
    _split_cpu(parts)
    found = _devices(config.training.platform)
    few = _why_few(found[0].platform, len(found), parts)
    if wanted == "auto":
        return found[: _automatic(len(found), parts, splits, had, few)]
    if wanted > len(found):
        raise UserError(f"training.devices: got {wanted}, but there are {len(found)} {found[0].platform} devices{few}")
    return found[:wanted]


def _automatic(there: int, parts: int, splits: Callable[[int], bool], had: int | None, few: str) -> int:
    """How many of the devices to take; `few` says why there are no more."""
    if had is not None and had <= there and splits(had):
        return had
    most = lambda limit: max((k for k in range(1, limit + 1) if splits(k)), default=1)
    count = most(there)
    if had is not None:
        message = f"the run had {had} devices and goes on with {count}, to the same numbers up to rounding{few}"
        warnings.warn(message, RunWarning, stacklevel=2)
    elif few and count < most(parts):
        warnings.warn(f"the run has {count} of {most(parts)} possible devices{few}", RunWarning, stacklevel=2)
    return count


def _why_few(platform: str, there: int, parts: int) -> str:
    """Why a CPU is in fewer parts than it could be, where that is so, and what to do."""
    if platform != "cpu" or there >= parts or _SPLITS in os.environ.get("XLA_FLAGS", ""):
        return ""
    return (
        "; JAX was in use already, when a CPU cannot be split any more: restart Python and call nigt_jax.train before "
        f"anything else uses JAX, or begin with jax.config.update('jax_num_cpu_devices', {parts})"
    )


def _devices(kind: str) -> list[jax.Device]:
    """All devices of a platform, or of JAX's first choice where it is "auto"."""
    try:
        here = ", ".join(sorted({d.platform for d in jax.devices()}))
    except (RuntimeError, AssertionError):
        asked = os.environ.get("JAX_PLATFORMS", "not set")
        raise UserError(f"JAX finds no device to run on; JAX_PLATFORMS is {asked}, cpu is always there") from None
    try:
        return jax.devices(None if kind == "auto" else kind)
    except RuntimeError:
        raise UserError(f"training.platform: got {kind}, but JAX finds only: {here}") from None


def device_name(device: jax.Device) -> str:
    """What kind of device it is; of a CPU, which processor."""
    if device.platform != "cpu":
        return device.device_kind
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine() or "cpu"


def place_on(axis: str | None) -> tuple[Any, int]:
    """The device's index on the axis, and how many there are; None is an axis of this device alone."""
    return (0, 1) if axis is None else (jax.lax.axis_index(axis), jax.lax.axis_size(axis))


def sum_over(axis: str | None, tree: Any) -> Any:
    """The sum over the devices of the axis, on each of them."""
    return tree if axis is None else jax.lax.psum(tree, axis)


def least_over(axis: str | None, numbers: Float[Array, " runs"]) -> Float[Array, " runs"]:
    """The least of the devices of the axis, on each of them.

    As a sum of what each device puts into a place of its own, which XLA joins to the sums that there are anyway.
    """
    if axis is None:
        return numbers
    me, devices = place_on(axis)
    mine = jnp.arange(devices)[:, None] == me
    return sum_over(axis, jnp.where(mine, numbers[None, :], 0)).min(axis=0)


def _split_cpu(parts: int) -> None:
    """Asks for at least so many virtual CPU devices, where it is not too late and nobody else has said how many."""
    if _SPLITS not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has looked for devices already; what it found is what there is
            jax.config.update("jax_num_cpu_devices", max(parts, jax.config.jax_num_cpu_devices))  # type: ignore[attr-defined]


class Spmd:
    """Maps per-device functions over the axis ``devices``, by pmap or by shard_map, to the same numbers.

    Devices either share one run: every argument and result is replicated, a device finds its own share of the work by
    its index on the axis, and what devices find out apart they have to reduce themselves. Or they have runs of their
    own: what has an axis of runs is split, and devices have nothing to tell each other.

    Attributes:
      kind: pmap or shard_map.
      devices: of the axis.
      apart: whether devices have runs of their own.
    """

    def __init__(self, kind: str, devices: list[jax.Device], apart: bool = False):
        self.kind = kind
        self.devices = devices
        self.apart = apart
        self._mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))

    def replicate(self, tree: Any) -> Any:
        """The tree on every device, in arrays that a mapped function takes and may overwrite."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def place(self, tree: Any) -> Any:
        """A tree with a leading axis of runs where a mapped function expects it."""
        if not self.apart:
            return self.replicate(tree)
        split = jax.tree.map(lambda x: x.reshape(len(self.devices), -1, *x.shape[1:]), tree)
        return jax.device_put(split, NamedSharding(self._mesh, PartitionSpec(AXIS)))

    def collect(self, tree: Any, axis: int = 0) -> Any:
        """What a mapped function gave, on the host; `axis` is where each device has its runs."""
        tree = jax.device_get(tree)
        if not self.apart:
            return tree
        return jax.tree.map(lambda x: np.concatenate(list(x), axis), tree)

    def compile(
        self,
        function: Callable,
        of_runs: tuple,
        shared: tuple = (),
        donate_first: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> "Program":
        """A program of ``function(*of_runs, *shared)``.

        Args:
          function: of one device.
          of_runs: arguments with an axis of runs, as `place` gives them; so is the result.
          shared: arguments that every device has.
          donate_first: whether the first argument is used up.
          options: of XLA, other than those that suit the platform.
        """
        # pmap wants something that is split: each device's number, which nobody reads.
        numbers = jax.device_put(np.arange(len(self.devices)), NamedSharding(self._mesh, PartitionSpec(AXIS)))
        mapped = (self._pmapped if self.kind == "pmap" else self._shard_mapped)(
            function, len(of_runs), len(shared), (1,) if donate_first else ()
        )
        chosen = compile_options(self.devices[0].platform) if options is None else dict(options)
        return Program(mapped.lower(numbers, *of_runs, *shared).compile(compiler_options=chosen), numbers)

    def _pmapped(self, function: Callable, of_runs: int, shared: int, donate: tuple[int, ...]) -> Any:
        mine = 0 if self.apart else None
        return jax.pmap(
            lambda number, *args: function(*args),
            AXIS,
            in_axes=(0, *[mine] * of_runs, *[None] * shared),
            out_axes=mine,
            donate_argnums=donate,
            devices=self.devices,
        )

    def _shard_mapped(self, function: Callable, of_runs: int, shared: int, donate: tuple[int, ...]) -> Any:
        split, whole = PartitionSpec(AXIS), PartitionSpec()
        mine = split if self.apart else whole

        def call(number: Any, *arguments: Any) -> Any:
            del number
            if not self.apart:
                return function(*arguments)
            # An axis of length one is left where pmap takes it away.
            own = jax.tree.map(lambda x: x[0], arguments[:of_runs])
            return jax.tree.map(lambda x: x[None], function(*own, *arguments[of_runs:]))

        specs = (split, *[mine] * of_runs, *[whole] * shared)
        mapped = jax.shard_map(call, mesh=self._mesh, in_specs=specs, out_specs=mine, check_vma=False)
        return jax.jit(mapped, donate_argnums=donate)


class Program:
    """A compiled program, for arguments of the same shapes in the same places. It never compiles again."""

    def __init__(self, compiled: Any, numbers: jax.Array):
        self._compiled = compiled
        self._numbers = numbers

    def __call__(self, *arguments: Any) -> Any:
        """What the mapped function makes of them."""
        return self._compiled(self._numbers, *arguments)

    def text(self) -> str:
        """The program in XLA's own language."""
        return self._compiled.as_text()

    def peak_bytes(self) -> int:
        """Memory by XLA's own analysis: arguments, results and temporaries; what is donated is counted once."""
        memory = self._compiled.memory_analysis()
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        return held + memory.temp_size_in_bytes
