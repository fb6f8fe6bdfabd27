"""Devices, lanes and blocks of a run: as asked for, as they were, and as they are now.

config.yaml has the numbers. What was asked for is in run.json: "auto" may become another number on another machine,
where the user's own number may not.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from nigt_jax.config import MOST_DEVICES, Config
from nigt_jax.errors import UserError
from nigt_jax.records import Provenance, Resources
from nigt_jax.runtimes import claim_devices, resolved_block

_NAMES = tuple(field.name for field in dataclasses.fields(Resources))
_LEFT_TO_US = Resources(devices="auto", lanes="auto", block="auto")


def resources(config: Config) -> Resources:
    """What the configuration says of them."""
    return Resources(**{name: getattr(config.training, name) for name in _NAMES})


def block_matters(config: Config) -> bool:
    """Whether the numbers of a run depend on which episodes are computed together: if these are compared."""
    return config.estimator.compares_episodes and config.method.compares == "round"


def claim_resources(config: Config, resume: bool, before: Provenance | None) -> tuple[Config, Resources]:
    """Claims the devices, before anything else makes JAX look for them.

    A run that goes on has what it had, to the same numbers bit for bit, if that is there. On other devices it has what
    was asked for; but a block on which its numbers depend stays what it was.

    Args:
      config: the run's configuration.
      resume: whether the run has begun.
      before: what it recorded then; None of a run without run.json, where only its configuration has the numbers.

    Returns:
      The configuration for these devices, with "auto" for what the runtime has to find out; and what was asked
      for.

    Raises:
      UserError: there are no such devices, or their number does not go with the block.
    """
    if resume:
        return _claim_again(config, before)
    return _with(config, devices=len(claim_devices(config.training, config.splits))), resources(config)


def _claim_again(config: Config, before: Provenance | None) -> tuple[Config, Resources]:
    given = resources(config)
    asked, had = (_LEFT_TO_US, given) if before is None else (before.asked, before.resolved)
    is_new = lambda name: getattr(given, name) not in (getattr(asked, name), getattr(had, name))
    changed = {name: getattr(given, name) for name in _NAMES if is_new(name)}  # by the user, since the run began
    asked, kept = (dataclasses.replace(numbers, **changed) for numbers in (asked, had))
    block = kept.block if block_matters(config) and "block" not in changed and kept.block != "auto" else None
    fits = lambda k: config.splits(k) and (block is None or resolved_block(config, k, block) == block)
    number = None if kept.devices == "auto" else kept.devices
    devices = claim_devices(_with(config, devices=asked.devices).training, fits, number)
    _refuse_other_block(config, len(devices), block, fits)
    alike = len(devices) == had.devices and (before is None or before.platform == devices[0].platform)
    rest = kept if alike else asked
    return _with(config, devices=len(devices), lanes=rest.lanes, block=block or rest.block), asked


def _refuse_other_block(config: Config, devices: int, block: int | None, fits: Callable[[int], bool]) -> None:
    if block is None or fits(devices):
        return
    allowed = ", ".join(str(k) for k in range(1, min(config.episodes_per_round, MOST_DEVICES) + 1) if fits(k))
    raise UserError(
        f"training.devices: got {devices}, which would compute {resolved_block(config, devices, block)} episodes "
        f"together; the run was made with {block}, and {config.estimator.name} compares them; allowed: {allowed}"
    )


def _with(config: Config, **numbers: Any) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **numbers))
