"""What the configurations of all related systems share."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._amounts import Amount
from nigt_jax.config._fields import LARGEST_SEED, RULES, setting
from nigt_jax.config._tagged import Tagged
from nigt_jax.config._workers import PowerLaw, WorkersConfig


def agents(count: int) -> WorkersConfig:
    """As many agents, alike, whose exchanges take no time."""
    even = PowerLaw(worker_exponent=0.0)
    return WorkersConfig(count=count, compute_time=even, communication_time=PowerLaw(scale=0.0, worker_exponent=0.0))


@dataclass(frozen=True, kw_only=True, config=RULES)
class SystemTraining:
    """How long, and on what."""

    iterations: int = setting(1000, "iterations after which a run ends", "iterations", ge=1, le=1_000_000_000)
    chunk: int = setting(
        100, "iterations in one compiled call, after which progress is shown", "iterations", ge=1, le=1_000_000
    )
    platform: Literal["auto", "cpu", "gpu", "tpu"] = setting("auto", "auto takes an accelerator when there is one")
    compilation_cache: bool = setting(
        True, "keep compiled programs in the user's cache folder (or JAX_COMPILATION_CACHE_DIR) for the next start"
    )

    @property
    def ends(self) -> tuple[Amount, ...]:
        """The amount that ends a run when it is reached."""
        return (Amount(self.iterations, "iterations"),)


@dataclass(frozen=True, kw_only=True, config=RULES)
class SystemEvaluation:
    """When results are measured; the first and the last time are always."""

    every: int = setting(100, "iterations from one evaluation to the next", "iterations", ge=1, le=1_000_000_000)


@dataclass(frozen=True, kw_only=True, config=RULES)
class SystemCheckpoint:
    """Full state, written atomically. The last iteration and an interruption always write one."""

    every: int = setting(1000, "iterations from one checkpoint to the next", "iterations", ge=1, le=1_000_000_000)
    keep: int = setting(3, "checkpoints kept, the newest", "checkpoints", ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True, config=RULES)
class SystemConfig:
    """What decides a run of a related system; each has sections of its own beside these.

    Attributes:
      differ: whether workers may have environments that differ.
      tagged: sections of which there are several kinds.
    """

    differ: ClassVar[bool] = False
    tagged: ClassVar[Mapping[str, Tagged]] = {}
    system: str = setting("", "which system it is of")

    seed: int = setting(0, "seed of the problem, of where it starts and of everything random", ge=0, le=LARGEST_SEED)
    workers: WorkersConfig = setting(lambda: agents(10), "")
    training: SystemTraining = setting(SystemTraining, "")
    evaluation: SystemEvaluation = setting(SystemEvaluation, "")
    checkpoint: SystemCheckpoint = setting(SystemCheckpoint, "")

    @model_validator(mode="after")
    def _knows_such_workers(self) -> "SystemConfig":
        unknown: dict[str, object] = {"byzantine": self.workers.byzantine}
        if not self.differ:
            unknown |= {"environments": self.workers.environments, "randomizer": self.workers.randomizer}
        for key, given in unknown.items():
            if given:
                raise ValueError(f"workers.{key}: got some, which this system does not know; allowed: none")
        return self
