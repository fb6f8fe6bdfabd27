"""The simulated workers: how long they take, what an exchange costs, and how their environments differ."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import LARGEST_SEED, RULES, ModuleClass, Number, Time, setting
from nigt_jax.config._trace import MOST_WORKERS

NOISES = {
    "none": "every gradient of a worker takes the same time",
    "exponential": "memoryless times",
    "gamma": "times that are sums of memoryless ones, or, with a shape below 1, that vary more than these",
    "lognormal": "times whose logarithm is normal: now and then a long one",
    "pareto": "a heavy tail of stragglers; the shape is its exponent",
}
TOPOLOGIES = {
    "parallel-links": "every worker has a link of its own",
    "shared-link": "all exchanges go through one link of the server",
    "allreduce": "all workers exchange at once, and the slowest link decides",
}


ATTACKS = {  # what a dishonest worker does, and its scale where none is given
    "zero": ("sends zeros", 1.0),
    "sign_flip": ("sends its gradient times -scale", 2.5),
    "noise": ("sends even noise, scale times as wide to either side as the range of its gradient's numbers", 3.0),
    "collusion": (
        "sends what all that collude agree on: the honest mean, and in a random direction scale times the largest "
        "distance between honest messages",
        1.5,
    ),
    "reward_flip": ("learns from rewards times -scale", 1.0),
    "random_reward": ("learns from rewards that are drawn evenly from -scale to scale", 1.0),
    "not_finite": ("sends what is no number", 1.0),
}


@dataclass(frozen=True, kw_only=True, config=RULES)
class PowerLaw:
    """A time for every worker: scale * i^worker_exponent * d^parameter_exponent for i = 1, 2, ..., or listed."""

    scale: Number = setting(1.0, "time of worker 1", "time units", ge=0)
    worker_exponent: Number = setting(
        0.5, "exponent of the worker's number i; 0.5 gives the square root of i", ge=-10, le=10
    )
    parameter_exponent: Number = setting(0.0, "exponent of the number d of policy parameters", ge=-10, le=10)
    values: tuple[Annotated[Time, Field(ge=0)], ...] | None = setting(
        None, "times, one a worker, instead of scale * i^worker_exponent: a slow worker has a large one", "time units"
    )
    speeds: tuple[Annotated[Time, Field(gt=0)], ...] | None = setting(
        None, "1 / time, one a worker, instead of the times: a slow worker has a small one", "a time unit"
    )

    @property
    def listed(self) -> tuple[float, ...] | None:
        """The time of each worker, where they are listed one by one."""
        return self.values if self.speeds is None else tuple(1 / speed for speed in self.speeds)


@dataclass(frozen=True, kw_only=True, config=RULES)
class Noise:
    """How much times vary from gradient to gradient, around the mean that compute_time gives."""

    family: Literal[tuple(NOISES)] = setting("none", "distribution of a gradient's time")  # type: ignore[valid-type]
    shape: Number = setting(
        2.0, "gamma: its shape; lognormal: deviation of the logarithm; pareto: exponent of the tail", gt=0
    )

    @model_validator(mode="after")
    def _has_a_mean(self) -> "Noise":
        if self.family == "pareto" and self.shape <= 1:
            raise ValueError(f"workers.noise.shape: got {self.shape}, allowed: above 1, or pareto has no mean")
        return self


@dataclass(frozen=True, kw_only=True, config=RULES)
class SpeedChange:
    """A time in which some workers are slower or faster."""

    workers: tuple[Annotated[int, Field(ge=1)], ...] | None = setting(
        None, "which, numbered from 1; null for all", "workers"
    )
    start: Number = setting(0.0, "from then on", "time units", ge=0)
    end: Number | None = setting(None, "until then; null for ever", "time units", gt=0)
    factor: Number = setting(0.0, "times their speed: 0.25 is four times as slow, 0 an outage", ge=0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class SpeedChanges:
    """Workers' speed over time; overlapping changes multiply."""

    period: Number | None = setting(
        None, "after which all changes repeat, such as a day; null for never", "time units", gt=0
    )
    changes: tuple[SpeedChange, ...] = setting(
        (), "mappings {workers: [1, 2] or null for all, start: time, end: time or null for ever, factor: of the speed}"
    )

    @model_validator(mode="after")
    def _in_order(self) -> "SpeedChanges":
        for number, change in enumerate(self.changes):
            key = f"workers.speed.changes.{number}"
            if change.end is not None and change.end <= change.start:
                raise ValueError(f"{key}.end: got {change.end}, allowed: after the start at {change.start}, or null")
            if self.period is not None and max(change.start, change.end or 0.0) > self.period:
                raise ValueError(f"{key}: reaches beyond workers.speed.period, allowed: times up to {self.period}")
        return self


Factor = Annotated[Number, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=RULES)
class EnvironmentChange:
    """How the environment of some workers differs; factors."""

    workers: tuple[Annotated[int, Field(ge=1)], ...] = setting((), "which, numbered from 1", "workers")
    gravity: Number = setting(1.0, "times gravity")
    mass: Factor = setting(1.0, "times the mass and inertia of every body")
    friction: Number = setting(1.0, "times the friction of every geometry", ge=0)
    actuator_gain: Number = setting(1.0, "times the force of every actuator")
    reward: dict[str, Number] = setting(dict, "factors of the environment's own reward weights, by name")
    flip_observation: bool = setting(
        False, "observations change their sign; all workers' then end with a bit that tells"
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class Byzantine:
    """What some workers do that are not honest."""

    workers: tuple[Annotated[int, Field(ge=1)], ...] = setting((), "which, numbered from 1", "workers")
    attack: Literal[tuple(ATTACKS)] = setting("sign_flip", "what they do")  # type: ignore[valid-type]
    scale: Factor | None = setting(None, "how strongly; null for what is usual with the attack")

    @property
    def strength(self) -> float:
        """The scale, as given or as usual."""
        return ATTACKS[self.attack][1] if self.scale is None else self.scale


@dataclass(frozen=True, kw_only=True, config=RULES)
class WorkersConfig:
    """The simulated workers. One time unit is what worker 1 needs for a gradient where scale is 1."""

    count: int = setting(10, "logical workers, however many devices do their work", "workers", ge=1, le=MOST_WORKERS)
    file: str | None = setting(
        None,
        "CSV or Parquet file of workers, a row for each: columns time or speed; unit, worker, communication_time or "
        "link_speed where it has them. It becomes count, compute_time and communication_time",
    )
    compute_time: PowerLaw = setting(PowerLaw, "time of one gradient (the paper's h_i)")
    communication_time: PowerLaw = setting(PowerLaw, "time of one exchange (the paper's kappa_i)")
    topology: Literal[tuple(TOPOLOGIES)] = setting(  # type: ignore[valid-type]
        "parallel-links",
        "what an exchange costs; shared-link: the sum over those who contribute; otherwise the largest",
    )
    noise: Noise = setting(Noise, "")
    speed: SpeedChanges = setting(SpeedChanges, "")
    trace: str | None = setting(
        None,
        "CSV or Parquet file of recorded times, columns worker (from 1) and duration, instead of compute_time; a "
        "column exchange stands instead of communication_time",
    )
    availability: str | None = setting(
        None, "CSV or Parquet file of windows in which workers are there: worker, start, end. It becomes speed"
    )
    environments: tuple[EnvironmentChange, ...] = setting(
        (),
        "how workers' environments differ: mappings {workers: [1, 2], gravity, mass, friction, actuator_gain: factors, "
        "reward: {name of a weight: factor}, flip_observation: true}; whatever their speeds, only malenia_nigt and "
        "ringleader_nigt weigh workers equally",
    )
    randomizer: ModuleClass | None = setting(
        None,
        "function (model, keys) to (models, in_axes) that draws the physics of every worker's environment, as Brax and "
        "Playground have them: module:function, or playground:NAME for Playground's own of an environment",
    )
    randomizer_seed: int = setting(0, "seed of the workers' physics where there is a randomizer", ge=0, le=LARGEST_SEED)
    byzantine: tuple[Byzantine, ...] = setting(
        (),
        "workers that are not honest, with a method that hears each by itself (robust_nigt): mappings {workers: [1], "
        f"attack: {', '.join(ATTACKS)}, scale: a number}}",
    )
    carry_over: bool = setting(
        False, "a worker finishes (for nothing) what it is doing when a round ends, before it takes up the next"
    )

    @property
    def differ(self) -> bool:
        """Whether workers' environments differ."""
        return bool(self.environments) or self.randomizer is not None

    @model_validator(mode="after")
    def _files_are_read(self) -> "WorkersConfig":
        for key in ("file", "availability"):
            if getattr(self, key) is not None:
                raise ValueError(f"workers.{key}: load_config and check_config read it; allowed here: null")
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> "WorkersConfig":
        for name in ("compute_time", "communication_time"):
            law = getattr(self, name)
            if law.values is not None and law.speeds is not None:
                raise ValueError(f"workers.{name}.speeds: got them beside workers.{name}.values, allowed: one of both")
            for kind, given in (("times", law.values), ("speeds", law.speeds)):
                if given is not None and len(given) != self.count:
                    key = "values" if kind == "times" else kind
                    raise ValueError(
                        f"workers.{name}.{key}: got {len(given)} {kind}, allowed: one for each of {self.count} workers"
                    )
        chosen = {
            "speed.changes": [change.workers for change in self.speed.changes if change.workers is not None],
            "environments": [change.workers for change in self.environments],
            "byzantine": [some.workers for some in self.byzantine],
        }
        for key, named in chosen.items():
            unknown = [i for workers in named for i in workers if i > self.count]
            if unknown or () in named:
                got = f"worker {unknown[0]}" if unknown else "a change of no workers"
                raise ValueError(f"workers.{key}: got {got}, allowed: 1 to {self.count}")
        dishonest = [i for some in self.byzantine for i in some.workers]
        if len({*dishonest}) < len(dishonest):
            twice = next(i for i in dishonest if dishonest.count(i) > 1)
            raise ValueError(f"workers.byzantine: got worker {twice} twice, allowed: one attack for each")
        if self.trace is not None and self.noise.family != "none":
            raise ValueError(f"workers.noise.family: got {self.noise.family} beside workers.trace, allowed: none")
        law = self.compute_time
        key, smallest = ("scale", law.scale) if law.listed is None else ("values", min(law.listed))
        if smallest == 0:
            raise ValueError(f"workers.compute_time.{key}: got 0, a gradient that takes no time, allowed: above 0")
        return self
