"""Settings of descent-guided policy gradient and its rivals, on a cluster whose tasks agents assign to servers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import COUNTABLE, RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig
from nigt_jax.config.systems._base import SystemConfig, SystemEvaluation, SystemTraining, agents

Positive = Annotated[Number, Field(gt=0)]
MOST_PAIRS = 4_000_000  # agents times servers: one array of features has eight numbers of each, for every step


@dataclass(frozen=True, kw_only=True, config=RULES)
class CloudConfig:
    """The cluster: as many servers as agents, and the tasks that arrive at every agent."""

    steps: int = setting(40, "steps of an episode", "steps", ge=1, le=100_000)
    cpu: tuple[Positive, ...] = setting(
        (4.0, 8.0, 16.0, 32.0), "CPU of the servers, in turn, and again from the first", "vCPU", min_length=1
    )
    memory_ratio: tuple[Positive, ...] = setting(
        (2.0, 4.0, 8.0), "memory of the servers for each vCPU, in turn, and again from the first", "GiB", min_length=1
    )
    drain: Number = setting(0.25, "share of a server's capacity that is worked off in a step", gt=0, le=1)
    load: Number = setting(
        0.8, "mean demand that arrives in a step, in units of what all servers together work off in one", gt=0, le=1000
    )
    arrival_rate: Number = setting(0.7, "mean probability that an agent gets a task in a step", gt=0, le=1)
    arrival_swing: Number = setting(0.25, "how far the probability goes up and down, as a sine", ge=0, le=1)
    arrival_period: int = setting(20, "steps of a whole wave of the arrivals", "steps", ge=1, le=100_000)
    heavy_share: Number = setting(0.2, "share of tasks that are heavy; the others are uniform, 0.5 to 1.5", ge=0, le=1)
    heavy_scale: Number = setting(3.0, "size of the smallest heavy task; the mean of the others is 1", gt=0, le=1000)
    heavy_exponent: Number = setting(2.5, "exponent of the Pareto law of heavy tasks", gt=1, le=100)
    heavy_cap: Number = setting(6.0, "the largest heavy task, in units of the smallest", ge=1, le=1_000_000)
    memory_spread: Number = setting(
        0.5, "a task has 1 + this or 1 - this times the mean memory for its CPU, with equal probability", ge=0, le=1
    )
    overload_weight: Number = setting(
        2.0, "weight of what a server has beyond its capacity, in the cost", ge=0, le=1_000_000
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class DgpgMethod:
    """PPO with one actor for all agents, and what guides it."""

    algorithm: Literal["dgpg", "mappo", "ippo"] = setting(
        "dgpg", "dgpg: MAPPO with guidance; mappo: a value of the whole state; ippo: of what an agent sees"
    )
    guidance_start: Number = setting(0.9, "dgpg: weight alpha of the guidance in the first update", ge=0, le=1)
    guidance_end: Number = setting(0.2, "dgpg: its weight in the end; linear between them", ge=0, le=1)
    guidance_updates: int = setting(
        80, "dgpg: updates from the first weight to the last, however long a run is", "updates", ge=2, le=1_000_000_000
    )
    episodes: int = setting(8, "episodes of an update", "episodes", ge=1, le=100_000)
    epochs: int = setting(4, "passes over an update's episodes", "passes", ge=1, le=1000)
    minibatches: int = setting(4, "Adam steps of a pass, each on an equal part of the steps", "steps", ge=1, le=100_000)
    discount: Number = setting(0.99, "discount factor, per step", gt=0, le=1)
    gae_lambda: Number = setting(0.95, "lambda of generalised advantage estimation", ge=0, le=1)
    clip: Number = setting(0.2, "how far the ratio of probabilities counts, from 1", gt=0, lt=1)
    entropy_weight: Number = setting(0.01, "weight of the policy's entropy in its objective", ge=0, le=1000)
    actor_learning_rate: Number = setting(3e-3, "Adam step of the actor", gt=0, le=1)
    critic_learning_rate: Number = setting(3e-3, "Adam step of the critic", gt=0, le=1)
    max_gradient_norm: Number = setting(0.5, "longer gradients are shortened to this", gt=0)
    hidden_sizes: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = setting(
        (32, 32), "widths of the tanh layers of actor and critic"
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class DgpgTraining(SystemTraining):
    """How long, and on what; an iteration is an update."""

    iterations: int = setting(80, "updates after which a run ends", "updates", ge=1, le=1_000_000_000)
    chunk: int = setting(
        10, "updates in one compiled call, after which progress is shown", "updates", ge=1, le=1_000_000
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class DgpgEvaluation(SystemEvaluation):
    """When results are measured; the first and the last time are always."""

    every: int = setting(10, "updates from one evaluation to the next", "updates", ge=1, le=1_000_000_000)
    episodes: int = setting(64, "episodes of an evaluation, the same tasks every time", "episodes", ge=1, le=100_000)


@dataclass(frozen=True, kw_only=True, config=RULES)
class DgpgConfig(SystemConfig):
    """Descent-guided policy gradient: every worker is an agent that assigns its tasks to servers."""

    system: Literal["dgpg"] = setting("dgpg", "descent-guided policy gradient, after Yang and Liu")
    workers: WorkersConfig = setting(lambda: agents(5), "")
    environment: CloudConfig = setting(CloudConfig, "")
    method: DgpgMethod = setting(DgpgMethod, "")
    training: DgpgTraining = setting(DgpgTraining, "")
    evaluation: DgpgEvaluation = setting(DgpgEvaluation, "")

    @model_validator(mode="after")
    def _fits_together(self) -> "DgpgConfig":
        cloud, method, count = self.environment, self.method, self.workers.count
        most = min(cloud.arrival_rate, 1 - cloud.arrival_rate)
        if cloud.arrival_swing > most + 1e-6:
            raise ValueError(
                f"environment.arrival_swing: got {cloud.arrival_swing:g} around {cloud.arrival_rate:g}, allowed: up to "
                f"{most:g}, so that it remains a probability"
            )
        if count < 2 or count**2 > MOST_PAIRS:
            most_agents = int(MOST_PAIRS**0.5)
            raise ValueError(f"workers.count: got {count}, allowed: 2 to {most_agents} agents, with a server for each")
        steps = method.episodes * cloud.steps
        if steps % method.minibatches:
            raise ValueError(
                f"method.minibatches: got {method.minibatches}, allowed: what divides the {steps} steps of an update"
            )
        if steps * count**2 > COUNTABLE:
            raise ValueError(
                f"method.episodes: got {method.episodes} of {cloud.steps} steps for {count} agents, allowed: up to "
                f"{COUNTABLE // (cloud.steps * count**2)} episodes, in memory at once"
            )
        return self
