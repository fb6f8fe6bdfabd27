"""Environments of MuJoCo Playground, which speak Brax's interface."""

from typing import Any

from nigt_jax.config import DM_CONTROL
from nigt_jax.environments._brax import quiet_models
from nigt_jax.errors import UserError
from nigt_jax.imports import imported


def make_playground_environment(name: str, implementation: str) -> Any:
    """The environment `name` on an implementation of MuJoCo, with Playground's own settings of it.

    Raises:
      UserError: Playground cannot be imported, or what it would download for this environment is not there.
    """
    with imported("mujoco_playground", "playground", f"environment.name: {name}"):
        from mujoco_playground import registry
        from mujoco_playground._src.mjx_env import MENAGERIE_PATH
    if name not in DM_CONTROL and not MENAGERIE_PATH.exists():
        raise UserError(
            f"environment.name: {name} needs the robots of MuJoCo Menagerie, which a run does not download; once: "
            f"python -c \"from mujoco_playground import registry; registry.load('{name}')\""
        )
    with quiet_models():
        return registry.load(name, config_overrides={"impl": implementation})


def playground_randomizer(name: str) -> Any:
    """Playground's own randomiser of an environment's models. UserError where it has none."""
    with imported("mujoco_playground", "playground", f"workers.randomizer: playground:{name}"):
        from mujoco_playground import registry
    found = registry.get_domain_randomizer(name)
    if found is None:
        raise UserError(f"workers.randomizer: got playground:{name}, of which Playground has no domain randomizer")
    return found
