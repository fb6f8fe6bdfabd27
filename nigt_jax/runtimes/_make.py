"""From a configuration to its runtime."""

from collections.abc import Callable
from typing import Any, cast

from nigt_jax.config import Config, RayRuntimeConfig
from nigt_jax.errors import UserError
from nigt_jax.policies import Start
from nigt_jax.runtimes._runtime import Runtime
from nigt_jax.runtimes._simulated import SimulatedRuntime
from nigt_jax.runtimes.lockstep import LockstepRuntime, join


def _on_ray(config: Config, environment: Any, *, start: Start | None) -> Runtime:
    """Imports Ray, which only this runtime needs, so that a cluster of its own listens to this machine alone."""
    import os

    if (
        cast(RayRuntimeConfig, config.runtime).address is None
    ):  # Ray reads it when it is imported, and its processes have it from this one
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from nigt_jax.runtimes.cluster import RayRuntime
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("runtime.kind: ray is not installed, allowed: pip install 'nigt_jax[ray]'") from None
    return RayRuntime(config, environment, start=start)


_RUNTIMES: dict[str, Callable[..., Runtime]] = {
    "simulated": SimulatedRuntime,
    "ray": _on_ray,
    "lockstep": LockstepRuntime,
}
_FIRST: dict[str, Callable[[Config], None]] = {"lockstep": join}


def join_job(config: Config) -> None:
    """Does what a runtime needs before anything has looked for devices: one in lockstep finds its other processes."""
    if config.runtime.kind in _FIRST:
        _FIRST[config.runtime.kind](config)


def make_runtime(config: Config, environment: Any = None, *, start: Start | None = None) -> Runtime:
    """The runtime that ``runtime.kind`` names.

    Args:
      config: the run's configuration.
      environment: an environment, instead of the one that the configuration names.
      start: the parameters and statistics that training starts with; None for fresh ones.
    """
    return _RUNTIMES[config.runtime.kind](config, environment, start=start)
