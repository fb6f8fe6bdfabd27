"""What figures were measured on."""

import datetime
import importlib.metadata
import os
from typing import Any

import jax

from nigt_jax.runtimes import device_name

_PACKAGES = ("nigt_jax", "jax", "jaxlib", "brax", "mujoco")


def machine(devices: list[jax.Device]) -> dict[str, Any]:
    """Device, number of devices, cores, the platform and its driver as JAX names them, versions, date."""
    first = devices[0]
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "device": device_name(first),
        "devices": len(devices),
        "platform": first.platform,
        "driver": " ".join(first.client.platform_version.split()),
        "cores": os.cpu_count(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    } | versions


def in_words(machine: dict[str, Any]) -> str:
    """One line of it."""
    first = f"{machine['devices']} x {machine['device']}, {machine['cores']} cores"
    return f"{first}, jax {machine['jax']}, brax {machine['brax']}, {machine['date']}"
