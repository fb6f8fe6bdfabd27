"""Settings of policy gradient over a network, with gradient tracking and variance reduction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._environments import BACKENDS, BRAX, FOR_TESTS, ONLY_ON
from nigt_jax.config._fields import COUNTABLE, LARGEST_BATCH, RULES, Number, setting
from nigt_jax.config._tagged import Tagged
from nigt_jax.config._workers import WorkersConfig
from nigt_jax.config.systems._base import SystemConfig, SystemTraining, agents
from nigt_jax.config.systems._graph import GraphConfig

REDUCTIONS = {
    "none": "the mean of the batch",
    "svrpg": "the snapshot's gradient, and how the batch says that it has changed since",
    "mdpgt": "the last round's estimate in place of the snapshot's, with newest_weight for the batch itself",
}


@dataclass(frozen=True, kw_only=True, config=RULES)
class TabularTask:
    """A random Markov decision process with known transitions, and rewards of each agent's own; tabular softmax."""

    kind: Literal["tabular"] = setting("tabular", "tabular: everything can be computed exactly; brax: a simulator")
    states: int = setting(5, "states", "states", ge=1, le=1000)
    actions: int = setting(3, "actions", "actions", ge=1, le=1000)
    horizon: int = setting(10, "length of an episode", "steps", ge=1, le=10_000)
    discount: Number = setting(0.9, "discount factor of the objective", "per step", gt=0, le=1)
    penalty: Number = setting(
        0.1,
        "weight lambda of -lambda / 2 |theta|^2 in the objective; without it a softmax runs into a corner, where there "
        "is no noise to reduce",
        ge=0,
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class BraxTask:
    """An environment of Brax, which `workers.environments` makes a different one for each agent; a tanh MLP."""

    kind: Literal["brax"] = setting("brax", "tabular: everything can be computed exactly; brax: a simulator")
    environment: Literal[(*BRAX, *FOR_TESTS)] = setting(  # type: ignore[valid-type]
        "reacher", "name of the environment"
    )
    backend: Literal[BACKENDS] = setting("spring", "physics pipeline")  # type: ignore[valid-type]
    horizon: int = setting(50, "length at which an episode is cut", "environment steps", ge=1, le=10_000)
    discount: Number = setting(
        1.0, "discount factor of the objective, from the start of an episode", "per environment step", gt=0, le=1
    )
    baseline: Literal["none", "leave_one_out"] = setting(
        "leave_one_out", "subtracted from what follows a step; the mean of the agent's other episodes' at that step"
    )
    divergence_penalty: Number = setting(
        10.0, "loss for every step that an episode misses because the physics broke", "reward", ge=0
    )
    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(min_length=1)] = setting(
        (32,), "widths of the hidden layers; observations are not standardised", "units"
    )
    min_std: Number = setting(0.1, "added to the softplus of the deviation; small ones make large weights", gt=0)
    evaluation_episodes: int = setting(
        32, "episodes of an evaluation in every agent's environment", "episodes", ge=1, le=1_000_000
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class ReductionConfig:
    """How an agent estimates its gradient in a round."""

    reduction: Literal[tuple(REDUCTIONS)] = setting(  # type: ignore[valid-type]
        "svrpg", "; ".join(f"{name}: {meaning}" for name, meaning in REDUCTIONS.items())
    )
    batch: int = setting(5, "episodes of an agent in a round (B)", "episodes", ge=1, le=LARGEST_BATCH)
    snapshot_batch: int = setting(
        100,
        "episodes of an agent at a snapshot (N) of svrpg, and in the first round of mdpgt",
        "episodes",
        ge=1,
        le=LARGEST_BATCH,
    )
    period: int = setting(10, "rounds from one snapshot of svrpg to the next (m)", "rounds", ge=1, le=1_000_000_000)
    newest_weight: Number = setting(0.5, "weight beta of the batch itself in mdpgt", ge=0, le=1)
    weights: Literal["per_decision", "per_episode"] = setting(
        "per_decision", "a reward is weighted by the actions before it, or by those of the whole episode"
    )
    weight_cap: Number | None = setting(
        None, "larger weights become this one, which is a bias, and are counted; null for never", ge=1
    )

    @property
    def most_episodes(self) -> int:
        """Episodes of an agent in any round, at most."""
        return self.batch if self.reduction == "none" else max(self.batch, self.snapshot_batch)


@dataclass(frozen=True, kw_only=True, config=RULES)
class NetworkConfig:
    """What agents make of what they hear."""

    tracking: bool = setting(True, "agents step along what they track of everybody's gradient, not along their own")
    learning_rate: Number = setting(0.05, "length of a step", "distance in parameter space", gt=0)


TASKS: dict[str, type[TabularTask] | type[BraxTask]] = {"tabular": TabularTask, "brax": BraxTask}

if TYPE_CHECKING:
    _Task: TypeAlias = TabularTask | BraxTask
else:
    _Task = Annotated[TabularTask | BraxTask, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=RULES)
class SvrpgTrackingConfig(SystemConfig):
    """Agents on a network ascend the mean of their own returns: variance reduction and gradient tracking."""

    differ: ClassVar[bool] = True
    tagged: ClassVar[Mapping[str, Tagged]] = {"task": Tagged(TASKS, "tabular", str, tuple(TASKS), by="kind")}

    system: Literal["svrpg_tracking"] = setting(
        "svrpg_tracking", "distributed policy gradient with variance reduction and gradient tracking"
    )
    task: _Task = setting(TabularTask, "")
    estimator: ReductionConfig = setting(ReductionConfig, "")
    network: NetworkConfig = setting(NetworkConfig, "")
    graph: GraphConfig = setting(GraphConfig, "")
    workers: WorkersConfig = setting(lambda: agents(6), "")
    training: SystemTraining = setting(lambda: SystemTraining(iterations=400), "")

    @model_validator(mode="after")
    def _task_has_it(self) -> "SvrpgTrackingConfig":
        if isinstance(self.task, TabularTask):
            for key in ("environments", "randomizer"):
                if getattr(self.workers, key):
                    raise ValueError(f"workers.{key}: got some with task.kind tabular, allowed: none, or brax")
        else:
            there = ONLY_ON.get(self.task.environment, BACKENDS)
            if self.task.backend not in there:
                allowed = ", ".join(there)
                raise ValueError(
                    f"task.backend: got {self.task.backend}, allowed with {self.task.environment}: {allowed}"
                )
        return self

    @model_validator(mode="after")
    def _keeps_the_mean(self) -> "SvrpgTrackingConfig":
        if self.graph.weights != "metropolis":
            raise ValueError(
                f"graph.weights: got {self.graph.weights}, allowed: metropolis, whose rows and columns sum to 1"
            )
        return self

    @model_validator(mode="after")
    def _can_be_counted(self) -> "SvrpgTrackingConfig":
        """An int32 counts the steps of a round, of all agents together."""
        steps = self.workers.count * self.estimator.most_episodes * self.task.horizon
        if steps > COUNTABLE:
            raise ValueError(
                f"estimator.snapshot_batch, or batch, * task.horizon * workers.count: got {steps:,}, allowed: up to "
                f"{COUNTABLE:,}"
            )
        return self

    @model_validator(mode="after")
    def _enough_to_compare(self) -> "SvrpgTrackingConfig":
        if isinstance(self.task, BraxTask) and self.task.baseline == "leave_one_out" and self.estimator.batch < 2:
            raise ValueError(
                f"estimator.batch: got {self.estimator.batch} with task.baseline leave_one_out, which has no others to "
                "compare with; allowed: 2 or more, or baseline none"
            )
        return self
