"""The configuration: typed dataclasses, each field with its meaning, its unit and the values it allows.

Nothing here imports JAX, so that a mistake is answered at once.
"""

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from nigt_jax.config import _catalog
from nigt_jax.config._trace import LONGEST_TIME, SHORTEST_TIME

COUNTABLE = 1_000_000_000  # what an int32 counts, with room for idle lanes and for what fills up a last block
MOST_DEVICES = 256  # of a process: XLA gives up on a CPU in many more parts

_RULES = ConfigDict(extra="forbid", allow_inf_nan=False)


def _fits_float32(value: float) -> float:
    """Refuses what becomes zero or infinite in the precision that everything is computed in."""
    if value != 0 and not 1e-37 < abs(value) < 1e38:
        raise ValueError(f"got {value}, allowed: what a float32 can hold, 1e-37 to 1e38")
    return value


def _is_a_time(value: float) -> float:
    """Refuses what is too short or too long for the clocks, be it a time or the inverse of one; 0 is no time at all."""
    if value != 0 and not SHORTEST_TIME <= value <= LONGEST_TIME:
        raise ValueError(f"got {value}, allowed: {SHORTEST_TIME:g} to {LONGEST_TIME:g}")
    return value


Number = Annotated[float, AfterValidator(_fits_float32)]


def _names_a_class(value: Any) -> Any:
    """Refuses what has not the form of ``module:Class``. Whether there is such a class is known when it is imported."""
    if not (isinstance(value, str) and re.fullmatch(r"[^\s:]+:[^\s:]+", value)):
        raise PydanticCustomError("module_class", "Input should be 'module:Class'")
    return value


ModuleClass = Annotated[
    str, BeforeValidator(_names_a_class), WithJsonSchema({"type": "string", "format": "module:Class"})
]


def _setting(default: Any, meaning: str, unit: str = "", **limits: Any) -> Any:
    """A field with its one-line meaning, its unit (empty: it has none) and pydantic's limits."""
    if callable(default):
        limits["default_factory"] = default
    else:
        limits["default"] = default
    return Field(description=meaning, json_schema_extra={"unit": unit}, **limits)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Environment:
    """The environment. Actions are in [-1, 1]; every episode starts from a fresh reset."""

    name: Literal[_catalog.ENVIRONMENTS] | ModuleClass = _setting(  # type: ignore[valid-type]
        "hopper",
        "Brax environment; or a class like one, importable from the current folder and made without arguments",
    )
    backend: Literal[_catalog.BACKENDS] = _setting(  # type: ignore[valid-type]
        "spring", "physics pipeline of a Brax environment; a module:Class has its own"
    )
    horizon: int = _setting(200, "length at which an episode is cut", "environment steps", ge=1, le=1_000_000)
    divergence_penalty: Number | None = _setting(
        None,
        "loss for every step that an episode misses because the physics broke (a NaN or an infinity); null for twice "
        "the lowest reward of a step so far, nothing where none was below 0",
        "reward",
        ge=0,
    )
    max_diverged: Number = _setting(
        0.5,
        "fraction of the newest 100 or more episodes that may break the physics; beyond it the run stops. 1 for never",
        ge=0,
        le=1,
    )


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Policy:
    """The paper's policy: a tanh MLP with a head for the mean and one for the state-dependent deviation."""

    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(min_length=1)] = _setting(
        (64, 64), "widths of the hidden layers", "units"
    )
    min_std: Number = _setting(1e-3, "added to the softplus of the deviation, so that no action is certain", gt=0)
    normalize_observations: bool = _setting(
        True, "standardise observations by running statistics, frozen within a round"
    )


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Estimator:
    """How trajectories become a policy gradient."""

    name: Literal[_catalog.ESTIMATORS] = _setting(  # type: ignore[valid-type]
        "leave_one_out", "policy_gradient is the paper's eq. (3); the others reduce its variance"
    )
    discount: Number = _setting(0.99, "discount factor of the objective", "per environment step", gt=0, le=1)
    gae_lambda: Number = _setting(0.95, "lambda of generalised advantage estimation (gae only)", ge=0, le=1)
    critic_learning_rate: Number = _setting(1e-3, "Adam step of the value baseline (gae only)", gt=0)
    critic_steps: int = _setting(
        8, "Adam steps of the value baseline for each block of episodes (gae only)", "gradient steps", ge=1, le=100_000
    )


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Method:
    """Who is counted and what the server does with the result."""

    name: Literal[_catalog.METHODS] = _setting("rennala_nigt", "aggregation rule and update")  # type: ignore[valid-type]
    learning_rate: Number = _setting(
        2**-5, "length of a step of the iterate (the paper's alpha)", "distance in parameter space", gt=0
    )
    learning_rate_half_life: Number | None = _setting(
        None,
        "round h at which steps are half as long: learning_rate / (1 + t / h), 2 in N-PG-IGT; null for constant steps",
        "rounds",
        gt=0,
    )
    momentum: Number = _setting(0.9, "weight of the past direction, 1 - eta in the paper's letters", ge=0, le=1 - 1e-6)
    max_delay: int = _setting(
        10, "delay from which on ringmaster_nigt discards a gradient (its R)", "updates", ge=1, le=1_000_000_000
    )
    batch_size: int = _setting(
        20,
        "gradients counted a round (the paper's M); afedpg, ringmaster_nigt and asynchronous_pg have no rounds",
        "gradients",
        ge=1,
        le=10_000_000,
    )
    initial_batch_size: int | None = _setting(
        None, "gradients counted in the first round (M_init); null for batch_size", "gradients", ge=1, le=10_000_000
    )
    trajectories_per_gradient: int = _setting(1, "episodes averaged into one gradient", "episodes", ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class PowerLaw:
    """A time for every worker: scale * i^worker_exponent * d^parameter_exponent for i = 1, 2, ..., or listed."""

    scale: Number = _setting(1.0, "time of worker 1", "time units", ge=0)
    worker_exponent: Number = _setting(
        0.5, "exponent of the worker's number i; 0.5 gives the square root of i", ge=-10, le=10
    )
    parameter_exponent: Number = _setting(0.0, "exponent of the number d of policy parameters", ge=-10, le=10)
    values: tuple[Annotated[Number, Field(ge=0), AfterValidator(_is_a_time)], ...] | None = _setting(
        None, "the times themselves, one a worker, instead of the law: a slow worker has a large one", "time units"
    )
    speeds: tuple[Annotated[Number, Field(gt=0), AfterValidator(_is_a_time)], ...] | None = _setting(
        None, "1 / time, one a worker, instead of the times: a slow worker has a small one", "a time unit"
    )

    @property
    def listed(self) -> tuple[float, ...] | None:
        """The time of each worker, where they are listed one by one."""
        return self.values if self.speeds is None else tuple(1 / speed for speed in self.speeds)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Noise:
    """How much times vary from gradient to gradient, around the mean that compute_time gives."""

    family: Literal[_catalog.NOISES] = _setting("none", "distribution of a gradient's time")  # type: ignore[valid-type]
    shape: Number = _setting(
        2.0, "gamma: its shape; lognormal: deviation of the logarithm; pareto: exponent of the tail", gt=0
    )

    @model_validator(mode="after")
    def _has_a_mean(self) -> "Noise":
        if self.family == "pareto" and self.shape <= 1:
            raise ValueError(f"workers.noise.shape: got {self.shape}, allowed: above 1, or pareto has no mean")
        return self


@dataclass(frozen=True, kw_only=True, config=_RULES)
class SpeedChange:
    """A time in which some workers are slower or faster."""

    workers: tuple[Annotated[int, Field(ge=1)], ...] | None = _setting(
        None, "which, numbered from 1; null for all", "workers"
    )
    start: Number = _setting(0.0, "from then on", "time units", ge=0)
    end: Number | None = _setting(None, "until then; null for ever", "time units", gt=0)
    factor: Number = _setting(0.0, "times their speed: 0.25 is four times as slow, 0 an outage", ge=0)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class SpeedChanges:
    """Workers' speed over time; overlapping changes multiply."""

    period: Number | None = _setting(
        None, "after which all changes repeat, such as a day; null for never", "time units", gt=0
    )
    changes: tuple[SpeedChange, ...] = _setting(
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


@dataclass(frozen=True, kw_only=True, config=_RULES)
class EnvironmentChange:
    """How the environment of some workers differs; factors."""

    workers: tuple[Annotated[int, Field(ge=1)], ...] = _setting((), "which, numbered from 1", "workers")
    gravity: Number = _setting(1.0, "times gravity")
    mass: Factor = _setting(1.0, "times the mass and inertia of every body")
    friction: Number = _setting(1.0, "times the friction of every geometry", ge=0)
    actuator_gain: Number = _setting(1.0, "times the force of every actuator")
    reward: dict[str, Number] = _setting(dict, "factors of the environment's own reward weights, by name")
    flip_observation: bool = _setting(
        False, "observations change their sign; all workers' then end with a bit that tells"
    )


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Workers:
    """The simulated workers. One time unit is what worker 1 needs for a gradient where scale is 1."""

    count: int = _setting(10, "logical workers, however many devices do their work", "workers", ge=1, le=1_000_000)
    compute_time: PowerLaw = _setting(PowerLaw, "time of one gradient (the paper's h_i)")
    communication_time: PowerLaw = _setting(PowerLaw, "time of one exchange (the paper's kappa_i)")
    topology: Literal[_catalog.TOPOLOGIES] = _setting(  # type: ignore[valid-type]
        "parallel-links",
        "what an exchange costs; shared-link: the sum over those who contribute; otherwise the largest",
    )
    noise: Noise = _setting(Noise, "")
    speed: SpeedChanges = _setting(SpeedChanges, "")
    trace: str | None = _setting(
        None, "CSV or Parquet file of recorded times, columns worker (from 1) and duration, instead of compute_time"
    )
    environments: tuple[EnvironmentChange, ...] = _setting(
        (),
        "how workers' environments differ: mappings {workers: [1, 2], gravity, mass, friction, actuator_gain: factors, "
        "reward: {name of a weight: factor}, flip_observation: true}; malenia_nigt alone weighs workers equally",
    )
    carry_over: bool = _setting(
        False, "a worker finishes (for nothing) what it is doing when a round ends, before it takes up the next"
    )

    @model_validator(mode="after")
    def _times_fit(self) -> "Workers":
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
        }
        for key, named in chosen.items():
            unknown = [i for workers in named for i in workers if i > self.count]
            if unknown or () in named:
                got = f"worker {unknown[0]}" if unknown else "a change of no workers"
                raise ValueError(f"workers.{key}: got {got}, allowed: 1 to {self.count}")
        if self.trace is not None and self.noise.family != "none":
            raise ValueError(f"workers.noise.family: got {self.noise.family} beside workers.trace, allowed: none")
        law = self.compute_time
        key, smallest = ("scale", law.scale) if law.listed is None else ("values", min(law.listed))
        if smallest == 0:
            raise ValueError(f"workers.compute_time.{key}: got 0, a gradient that takes no time, allowed: above 0")
        return self


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Training:
    """How long, and on what."""

    iterations: int = _setting(300, "rounds, each one update of the iterate", "rounds", ge=1, le=1_000_000_000)
    chunk: int = _setting(10, "rounds in one compiled call, after which progress is shown", "rounds", ge=1, le=100_000)
    platform: Literal["auto", "cpu", "gpu", "tpu"] = _setting("auto", "auto takes an accelerator when there is one")
    devices: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_DEVICES)] = _setting(
        "auto",
        "devices to share a round's episodes; a CPU is split into as many. auto: as many as divide the batch",
        "devices",
    )
    lanes: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000_000)] = _setting(
        "auto",
        "episodes that a device runs side by side; a lane whose episode ends takes the next one. auto: all of them "
        "where they are few, otherwise measured, once per machine and environment",
        "lanes",
    )
    block: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000_000)] = _setting(
        "auto",
        "episodes that are played, and their steps kept, before anything is made of them; a round of more is played in "
        "equal parts. auto: as many as fit in 1 GiB, or in an eighth of every accelerator's memory",
        "episodes",
    )
    spmd: Literal["pmap", "shard_map"] = _setting("pmap", "how the per-device function is mapped; the same numbers")
    layout: Literal["packed", "masked"] = _setting(
        "packed", "packed plays only what counts; masked also what is discarded, weighted by zero: the literal form"
    )
    compilation_cache: bool = _setting(
        True, "keep compiled programs in the user's cache folder (or JAX_COMPILATION_CACHE_DIR) for the next start"
    )


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Evaluation:
    """Episodes of the iterate, from the same keys every time, with the stochastic policy."""

    every: int = _setting(
        25,
        "rounds from one evaluation to the next; the first and the last are always made",
        "rounds",
        ge=1,
        le=1_000_000_000,
    )
    episodes: int = _setting(16, "episodes in an evaluation", "episodes", ge=1, le=1_000_000)
    seed: int = _setting(1, "seed of the evaluation episodes", ge=0, le=2**32 - 1)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Checkpoint:
    """Full state, written atomically. The last round and an interruption always write one."""

    every: int = _setting(50, "rounds from one checkpoint to the next", "rounds", ge=1, le=1_000_000_000)
    keep: int = _setting(3, "checkpoints kept, the newest", "checkpoints", ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True, config=_RULES)
class Config:
    """Everything that decides a run."""

    seed: int = _setting(0, "seed of the initial policy and of all training episodes", ge=0, le=2**32 - 1)
    environment: Environment = _setting(Environment, "")
    policy: Policy = _setting(Policy, "")
    estimator: Estimator = _setting(Estimator, "")
    method: Method = _setting(Method, "")
    workers: Workers = _setting(Workers, "")
    training: Training = _setting(Training, "")
    evaluation: Evaluation = _setting(Evaluation, "")
    checkpoint: Checkpoint = _setting(Checkpoint, "")

    @model_validator(mode="after")
    def _batch_splits(self) -> "Config":
        episodes, devices = self.episodes_per_round, self.training.devices
        if devices != "auto" and not self.splits(devices):
            fits = ", ".join(str(k) for k in range(1, min(episodes, MOST_DEVICES) + 1) if episodes % k == 0)
            raise ValueError(
                f"training.devices: got {devices}, but a round has {episodes} episodes "
                f"(method.batch_size * method.trajectories_per_gradient); allowed: {fits}"
            )
        if self.estimator.name == "leave_one_out" and episodes < 2:
            whole, more = "round", "batch_size"
            if self.one_at_a_time:
                whole, more = "gradient", "trajectories_per_gradient"
            raise ValueError(
                f"estimator.name: got leave_one_out with 1 episode a {whole}, which leaves nothing; "
                f"allowed: method.{more} of at least 2, or another estimator"
            )
        return self

    @model_validator(mode="after")
    def _arrivals_arrive(self) -> "Config":
        if self.one_at_a_time and self.workers.topology == "allreduce":
            raise ValueError(
                f"workers.topology: got allreduce for {self.method.name}, which absorbs one gradient at a time; "
                "allowed: parallel-links, shared-link"
            )
        return self

    @model_validator(mode="after")
    def _few_enough(self) -> "Config":
        largest = max(self.method.batch_size, self.method.initial_batch_size or 0)
        if self.method.name == "m_synchronous_nigt" and largest > self.workers.count:
            raise ValueError(
                f"method.batch_size: got {largest} for m_synchronous_nigt, which counts one gradient a worker; "
                f"allowed: up to workers.count, {self.workers.count}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_counted(self) -> "Config":
        """An int32 counts the episodes of a round, and the steps of those that are played at once."""
        horizon, each = self.environment.horizon, self.method.trajectories_per_gradient
        largest = max(self.method.batch_size, self.method.initial_batch_size or 0)
        products = {"evaluation.episodes * environment.horizon": self.evaluation.episodes * horizon}
        if self.workers.environments:
            products = {f"{keys} * workers.count": steps * self.workers.count for keys, steps in products.items()}
        if self.one_at_a_time:
            products["method.trajectories_per_gradient * environment.horizon"] = each * horizon
        else:
            products["method.batch_size * method.trajectories_per_gradient"] = largest * each
        for keys, product in products.items():
            if product > COUNTABLE:
                raise ValueError(f"{keys}: got {product:,}, allowed: up to {COUNTABLE:,}")
        return self

    @property
    def one_at_a_time(self) -> bool:
        """Whether the method absorbs gradients as they arrive, and has no rounds."""
        return self.method.name in _catalog.ARRIVAL_METHODS

    @property
    def episodes_per_round(self) -> int:
        """Episodes of every round but the first; of an update where there are no rounds."""
        gradients = 1 if self.one_at_a_time else self.method.batch_size
        return gradients * self.method.trajectories_per_gradient

    def splits(self, devices: int) -> bool:
        """Whether so many devices can share the episodes evenly; arrivals come in blocks of any size."""
        return self.one_at_a_time or self.episodes_per_round % devices == 0


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as plain mappings, lists and scalars, ready for YAML."""
    plain = dataclasses.asdict(config)
    return _lists(plain)


def dotted(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """From dotted keys to values, of nested mappings."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, tuple) else value
