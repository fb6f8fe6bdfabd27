"""The configuration of a run: typed dataclasses, each field with its meaning, its unit and the values it allows.

Nothing here imports JAX, so that a mistake is answered at once.
"""

import dataclasses
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._amounts import Amount, AmountText, amount_of
from nigt_jax.config._environments import SUITES, BraxEnvironment, EnvironmentConfig, suite_of
from nigt_jax.config._estimators import ESTIMATORS, EstimatorConfig, LeaveOneOut
from nigt_jax.config._fields import (
    COUNTABLE,
    LARGEST_BATCH,
    LARGEST_SEED,
    MOST_DEVICES,
    RULES,
    ModuleClass,
    Number,
    setting,
)
from nigt_jax.config._method_kinds import MethodConfig
from nigt_jax.config._methods import METHODS, RennalaNigt
from nigt_jax.config._runtimes import RUNTIMES, RuntimeConfig, SimulatedRuntimeConfig
from nigt_jax.config._workers import WorkersConfig

_ITERATIONS = 300  # of a run that is given neither a number of them nor a budget
_Interval: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)] | AmountText


@dataclass(frozen=True, kw_only=True, config=RULES)
class PolicyConfig:
    """A tanh MLP: the paper's, with a mean and a state-dependent deviation; or with the logits of discrete actions."""

    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(min_length=1)] = setting(
        (64, 64), "widths of the hidden layers", "units"
    )
    min_std: Number = setting(1e-3, "added to the softplus of the deviation, so that no action is certain", gt=0)
    normalize_observations: bool = setting(
        True, "standardise observations by running statistics, frozen within a round"
    )
    start: str | None = setting(
        None,
        "policy that training starts with, its statistics of observations included: the folder of a run, or one that "
        "nigt export has written; null for fresh parameters",
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class TrainingConfig:
    """How long, and on what."""

    iterations: int | None = setting(
        None,
        f"rounds, each one update of the iterate, after which a run ends; null for {_ITERATIONS}, or where there is a "
        "budget for no such limit",
        "rounds",
        ge=1,
        le=1_000_000_000,
    )
    budget: AmountText | None = setting(
        None,
        "amount of gradients, env_steps, simulated_time or iterations after which a run ends: at the first round that "
        "reaches it; null for no limit but iterations",
    )
    chunk: int = setting(10, "rounds in one compiled call, after which progress is shown", "rounds", ge=1, le=100_000)
    platform: Literal["auto", "cpu", "gpu", "tpu"] = setting("auto", "auto takes an accelerator when there is one")
    devices: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_DEVICES)] = setting(
        "auto",
        "devices to share a round's episodes; a CPU is split into as many. auto: as many as divide the batch",
        "devices",
    )
    lanes: Literal["auto", "measured"] | Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = setting(
        "auto",
        "episodes that a device runs side by side; a lane whose episode ends takes the next one. auto: all of them "
        "where they are few, otherwise what was measured on this machine before, or a usual number. "
        "measured: three numbers are tried first, once per machine and environment, and a program compiled for each",
        "lanes",
    )
    block: Literal["auto"] | Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = setting(
        "auto",
        "episodes that are played, and their steps kept, before anything is made of them; a round of more is played in "
        "equal parts. auto: as many as fit in 1 GiB, or in an eighth of every accelerator's memory",
        "episodes",
    )
    spmd: Literal["pmap", "shard_map"] = setting("pmap", "how the per-device function is mapped; the same numbers")
    layout: Literal["packed", "masked"] = setting(
        "packed", "packed plays only what counts; masked also what is discarded, weighted by zero: the literal form"
    )
    compilation_cache: bool = setting(
        True, "keep compiled programs in the user's cache folder (or JAX_COMPILATION_CACHE_DIR) for the next start"
    )

    @property
    def ends(self) -> tuple[Amount, ...]:
        """The amounts of which the first that is reached ends a run."""
        iterations = self.iterations
        if iterations is None and self.budget is None:
            iterations = _ITERATIONS
        return tuple(amount_of(given) for given in (iterations, self.budget) if given is not None)


@dataclass(frozen=True, kw_only=True, config=RULES)
class EvaluationConfig:
    """Episodes of the iterate, from the same keys every time, with the stochastic policy."""

    every: _Interval = setting(
        25, "rounds, or an amount, from one evaluation to the next; the first and the last are always made", "rounds"
    )
    episodes: int = setting(16, "episodes in an evaluation", "episodes", ge=1, le=1_000_000)
    seed: int = setting(1, "seed of the evaluation episodes", ge=0, le=LARGEST_SEED)


@dataclass(frozen=True, kw_only=True, config=RULES)
class CheckpointConfig:
    """Full state, written atomically. The last round and an interruption always write one."""

    every: _Interval = setting(50, "rounds, or an amount, from one checkpoint to the next", "rounds")
    keep: int = setting(3, "checkpoints kept, the newest", "checkpoints", ge=1, le=1_000_000)
    keep_best: bool = setting(
        False,
        "also keep the policy of the highest evaluation, in the run's folder under best, as nigt export writes it",
    )


SINKS = ("tensorboard", "wandb", "trackio")


@dataclass(frozen=True, kw_only=True, config=RULES)
class LoggingConfig:
    """Where records go beside metrics.jsonl."""

    sinks: tuple[Literal[SINKS] | ModuleClass, ...] = setting(  # type: ignore[valid-type]
        (), "experiment trackers, each with an extra of its name; or a class of one's own, module:Class"
    )
    project: str = setting("nigt_jax", "of wandb and trackio: the project that runs belong to")

    @model_validator(mode="after")
    def _each_once(self) -> "LoggingConfig":
        twice = [name for name in self.sinks if self.sinks.count(name) > 1]
        if twice:
            raise ValueError(f"logging.sinks: got {twice[0]} {self.sinks.count(twice[0])} times, allowed: once")
        return self


def _suite(section: Any) -> str:
    name = section.get("name", "") if isinstance(section, dict) else getattr(section, "name", "")
    return suite_of(str(name))


if TYPE_CHECKING:  # what may be relied on of a section, whichever it is
    _Environment: TypeAlias = EnvironmentConfig
    _Estimator: TypeAlias = EstimatorConfig
    _Method: TypeAlias = MethodConfig
    _Runtime: TypeAlias = RuntimeConfig
else:
    _Environment = Annotated[
        reduce(or_, (Annotated[kind, Tag(suite)] for suite, kind in SUITES.items())), Discriminator(_suite)
    ]
    _Estimator = Annotated[reduce(or_, ESTIMATORS.values()), Field(discriminator="name")]
    _Method = Annotated[reduce(or_, METHODS.values()), Field(discriminator="name")]
    _Runtime = Annotated[reduce(or_, RUNTIMES.values()), Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=RULES)
class Config:
    """Everything that decides a run."""

    seed: int = setting(
        0, "seed of the initial policy and of all training episodes", ge=0, le=LARGEST_SEED, traced=True
    )
    environment: _Environment = setting(BraxEnvironment, "")
    policy: PolicyConfig = setting(PolicyConfig, "")
    estimator: _Estimator = setting(LeaveOneOut, "")
    method: _Method = setting(RennalaNigt, "")
    workers: WorkersConfig = setting(WorkersConfig, "")
    runtime: _Runtime = setting(SimulatedRuntimeConfig, "")
    training: TrainingConfig = setting(TrainingConfig, "")
    evaluation: EvaluationConfig = setting(EvaluationConfig, "")
    checkpoint: CheckpointConfig = setting(CheckpointConfig, "")
    logging: LoggingConfig = setting(LoggingConfig, "")

    @model_validator(mode="after")
    def _batch_splits(self) -> "Config":
        episodes, devices = self.episodes_per_round, self.training.devices
        if devices != "auto" and not self.splits(devices):
            fits = ", ".join(str(k) for k in range(1, min(episodes, MOST_DEVICES) + 1) if episodes % k == 0)
            raise ValueError(
                f"training.devices: got {devices}, but a round has {episodes} episodes "
                f"(method.batch_size * method.trajectories_per_gradient); allowed: {fits}"
            )
        return self

    @model_validator(mode="after")
    def _enough_to_compare(self) -> "Config":
        compared, more = self.method.compared_episodes(self.workers.count)
        least, whole = self.estimator.least_episodes, self.method.compares
        if compared < least:
            raise ValueError(
                f"estimator.name: got {self.estimator.name} with {compared} episode a {whole}, which leaves nothing; "
                f"allowed: method.{more} of at least {least}, or another estimator"
            )
        return self

    @model_validator(mode="after")
    def _method_suits_workers(self) -> "Config":
        self.method.check(self.workers)
        if self.workers.byzantine and self.method.compares != "worker":
            allowed = ", ".join(name for name, method in METHODS.items() if method.compares == "worker")
            raise ValueError(
                f"workers.byzantine: got some with {self.method.name}, which hears no worker by itself; allowed: a "
                f"method.name of {allowed} (robust_nigt with rule: mean is rennala_nigt)"
            )
        return self

    @model_validator(mode="after")
    def _can_be_counted(self) -> "Config":
        """An int32 counts the episodes of a round, and the steps of those that are played at once."""
        horizon = self.environment.horizon
        products = {"evaluation.episodes * environment.horizon": self.evaluation.episodes * horizon}
        if self.workers.differ:
            products = {f"{keys} * workers.count": steps * self.workers.count for keys, steps in products.items()}
        for keys, product in (products | self.method.counted(horizon)).items():
            if product > COUNTABLE:
                raise ValueError(f"{keys}: got {product:,}, allowed: up to {COUNTABLE:,}")
        return self

    @property
    def episodes_per_round(self) -> int:
        """Episodes of every round but the first; of an update where there are no rounds."""
        return self.method.episodes_per_update

    def splits(self, devices: int) -> bool:
        """Whether so many devices can share the episodes of a round evenly."""
        return self.method.splits(devices)

    @property
    def counts_steps(self) -> bool:
        """Whether what happens during a run depends on steps of the environment."""
        given = (*self.training.ends, *map(amount_of, (self.evaluation.every, self.checkpoint.every)))
        half_life = self.method.learning_rate_half_life
        return "env_steps" in {amount.unit for amount in given} | {amount_of(half_life or 1).unit}


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
