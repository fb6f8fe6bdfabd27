"""From a configuration to its runtime."""

from typing import Any

from nigt_jax.config import Config
from nigt_jax.runtimes._runtime import Runtime
from nigt_jax.runtimes._simulated import SimulatedRuntime

_RUNTIMES = {"simulated": SimulatedRuntime}


def make_runtime(config: Config, environment: Any = None) -> Runtime:
    """The runtime that ``runtime.kind`` names.

    Args:
      config: the run's configuration.
      environment: an environment, instead of the one that the configuration names.
    """
    return _RUNTIMES[config.runtime.kind](config, environment)
