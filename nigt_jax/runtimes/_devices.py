"""The devices of a run: which there are, and how many of them share its work."""

import contextlib
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path

import jax

from nigt_jax.config import TrainingConfig
from nigt_jax.errors import RunWarning, UserError

_SPLITS = "xla_force_host_platform_device_count"


def cpu_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def claim_devices(training: TrainingConfig, splits: Callable[[int], bool], had: int | None = None) -> list[jax.Device]:
    """The devices that share a round's episodes, or many runs.

    One of XLA's CPU devices hardly uses more than one core on small physics, so a CPU should be as many devices as it
    has cores. JAX has to be told before it is used, which the command line does. Where "auto" gets fewer devices than
    there could be, it warns.

    Args:
      training: names the platform and the number; "auto" is the largest number available that splits the work.
      splits: whether so many devices can share the work.
      had: number of devices that the run had until now; "auto" is again this number if there are so many.

    Returns:
      The devices.

    Raises:
      UserError: there is no such platform, or not as many devices.
    """
    wanted = training.devices
    parts = max(cpu_cores(), had or 0) if wanted == "auto" else wanted
    found = devices_of(training.platform)
    few = _why_few(found[0].platform, len(found), parts)
    if wanted == "auto":
        return found[: _automatic(len(found), parts, splits, had, few)]
    if wanted > len(found):
        raise UserError(f"training.devices: got {wanted}, but there are {len(found)} {found[0].platform} devices{few}")
    return found[:wanted]


def split_cpu(parts: int) -> None:
    """Asks JAX for at least so many virtual CPU devices: for the whole process, so it is for programs to call.

    Nothing happens where JAX is in use already, or where XLA_FLAGS says how many there are.
    """
    if _SPLITS not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has looked for devices already; what it found is what there is
            jax.config.update("jax_num_cpu_devices", max(parts, jax.config.jax_num_cpu_devices))  # type: ignore[attr-defined]


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
        "; a CPU is one device unless JAX is told otherwise before anything uses it: begin with "
        f"jax.config.update('jax_num_cpu_devices', {parts})"
    )


def devices_of(kind: str) -> list[jax.Device]:
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


def of_this_process(devices: list[jax.Device]) -> list[jax.Device]:
    """Those of the devices that this process can put arrays on."""
    return [device for device in devices if device.process_index == jax.process_index()]


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
