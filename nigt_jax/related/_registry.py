"""Which system a configuration is of."""

import importlib

from nigt_jax.config import SystemConfig
from nigt_jax.related._system import System

# Imported when it is asked for: one needs a simulator of physics, another one networks, and most need neither.
_CLASSES = {
    "async_evaluation": "async_evaluation:AsyncEvaluation",
    "fednpg": "fednpg:Fednpg",
    "svrpg_tracking": "svrpg_tracking:SvrpgTracking",
    "rec_marl_access": "rec_marl:RecMarlAccess",
    "rec_marl_power": "rec_marl:RecMarlPower",
    "dgpg": "dgpg:Dgpg",
}


def make_system(config: SystemConfig) -> System:
    """The system that a configuration describes.

    Raises:
      UserError: what it asks for cannot be made.
    """
    module, name = _CLASSES[config.system].split(":")
    system: System = getattr(importlib.import_module(f"nigt_jax.related.{module}"), name)(config)
    return system
