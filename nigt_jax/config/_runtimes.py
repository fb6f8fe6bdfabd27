"""What computes the rounds: every runtime's settings."""

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, Number, setting

_MEANING = (
    "simulated: the workers' clock is simulated, and the devices of this machine do their useful work; ray: the "
    "workers are processes, of this machine or of a cluster; lockstep: as simulated, on the devices of several "
    "processes, of one host or many"
)


@dataclass(frozen=True, kw_only=True, config=RULES)
class RuntimeConfig:
    """What computes the rounds."""

    real_time: ClassVar[bool]  # whether time is that of a wall clock, in seconds

    kind: str = setting("", _MEANING)


@dataclass(frozen=True, kw_only=True, config=RULES)
class SimulatedRuntimeConfig(RuntimeConfig):
    """Workers whose times are a model."""

    real_time: ClassVar[bool] = False

    kind: Literal["simulated"] = setting("simulated", _MEANING)


@dataclass(frozen=True, kw_only=True, config=RULES)
class RayRuntimeConfig(RuntimeConfig):
    """Workers that are processes of Ray."""

    real_time: ClassVar[bool] = True

    kind: Literal["ray"] = setting("ray", _MEANING)
    address: str | None = setting(None, "of the head of a cluster, host:port; null starts one of this machine alone")
    without_token: bool = setting(False, "join a cluster that anybody who reaches its ports may use")
    worker_cpus: Number = setting(0.0, "cores that Ray sets aside for every worker", "cores", ge=0)
    worker_gpus: Number = setting(0.0, "GPUs that it sets aside; 0.5 lets two workers share one", "GPUs", ge=0)
    deadline: Number = setting(120.0, "a worker that is silent for so long is replaced", "s", gt=0)
    patience: Number = setting(300.0, "a round waits so long for workers that it needs and that are gone", "s", gt=0)
    without_the_lost: bool = setting(
        False, "after `patience`, go on without workers that the method needs and that are gone; otherwise the run ends"
    )
    begin_with: int | None = setting(
        None, "workers that are started at first; null for all; DIR/NAME/workers changes it later", "workers", ge=1
    )
    most_faults: int = setting(
        3,
        "contributions of a worker that are refused, or sums in a row without an answer, before it is expelled",
        ge=1,
        le=10**6,
    )
    seconds_per_time_unit: Number = setting(
        0.0,
        "slowness put on: a gradient takes at least so many seconds for each unit of time in `workers`; 0 for none",
        "s",
        ge=0,
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class LockstepRuntimeConfig(RuntimeConfig):
    """Workers whose times are a model; several processes compute one program on all their devices."""

    real_time: ClassVar[bool] = False

    kind: Literal["lockstep"] = setting("lockstep", _MEANING)
    processes: int | None = setting(
        None, "of this machine, which the command starts; null joins those that a scheduler has started", ge=1, le=1024
    )
    silence: Number = setting(60.0, "the job ends where a process is not heard of for so long", "s", ge=1, le=10**6)


RUNTIMES: dict[str, type[RuntimeConfig]] = {
    "simulated": SimulatedRuntimeConfig,
    "ray": RayRuntimeConfig,
    "lockstep": LockstepRuntimeConfig,
}
