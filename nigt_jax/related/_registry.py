"""Which system a configuration is of."""

from collections.abc import Callable
from typing import Any

from nigt_jax.config import SystemConfig
from nigt_jax.config.systems import FednpgConfig
from nigt_jax.related._system import System
from nigt_jax.related.fednpg import Fednpg

_MAKE: dict[type[SystemConfig], Callable[[Any], Any]] = {FednpgConfig: Fednpg}


def make_system(config: SystemConfig) -> System:
    """The system that a configuration describes.

    Raises:
      UserError: what it asks for cannot be made.
    """
    system: System = _MAKE[type(config)](config)
    return system
