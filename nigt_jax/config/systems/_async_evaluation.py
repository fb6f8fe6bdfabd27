"""Settings of asynchronous policy evaluation over a directed graph."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig
from nigt_jax.config.systems._base import SystemConfig, SystemTraining, agents
from nigt_jax.config.systems._graph import LinksConfig


@dataclass(frozen=True, kw_only=True, config=RULES)
class MarkovRewardProcess:
    """A Markov chain with rewards, which a fixed policy has made of its task, and what is known of it."""

    kind: Literal["trajectory", "tabular"] = setting(
        "trajectory",
        "trajectory: transitions of one trajectory, with random features; tabular: the expected transition of every "
        "state, with a feature for each state",
    )
    states: int = setting(10, "states of the chain", "states", ge=2, le=10_000)
    concentration: Number = setting(
        0.5, "of the Dirichlet distribution that draws a state's next one; small: few are likely", ge=0.01, le=1000
    )
    features: int = setting(
        4,
        "features of a state, the first the same for all; tabular: as many as states, whatever this is",
        ge=1,
        le=1000,
    )
    samples: int = setting(
        240, "transitions; tabular: as many as states, whatever this is", "transitions", ge=1, le=1_000_000
    )
    discount: Number = setting(0.9, "discount of rewards", ge=0, lt=1)
    regularization: Number = setting(0.1, "weight of half the squared parameters", ge=0, le=1e6)

    @property
    def size(self) -> tuple[int, int]:
        """Transitions and features."""
        return (self.states, self.states) if self.kind == "tabular" else (self.samples, self.features)


@dataclass(frozen=True, kw_only=True, config=RULES)
class PushPull:
    """What a node does when it wakes up."""

    gradient: Literal["sag", "full"] = setting(
        "sag",
        "of a node: sag, the average of what its samples had when each was visited last, one a wake-up; full, all of "
        "them at every wake-up",
    )
    step_per_node: Number = setting(
        0.003, "the step is so much times the number of nodes, whose steps are averaged by all", gt=0, le=1e6
    )
    step_size: Annotated[Number, Field(gt=0)] | None = setting(
        None, "the step itself; null for step_per_node times the number of nodes"
    )
    dual_ratio: Number = setting(1.0, "step of the dual variable in steps of the parameters", gt=0, le=1e6)
    kept_sends: int | None = setting(
        None,
        "how many of its last messages a node keeps, since the newest that has arrived is read; null for what delays "
        "and times need. Where they are too few a run ends, since the staleness of what was read is not finite",
        "messages",
        ge=2,
        le=10_000_000,
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class AsyncEvaluationConfig(SystemConfig):
    """Policy evaluation by nodes that never wait, over a directed graph.

    A node's wake-ups follow each other by ``workers.compute_time``, noise and speed; its messages are under way for
    ``workers.communication_time``, while it goes on.
    """

    system: Literal["async_evaluation"] = setting("async_evaluation", "policy evaluation by nodes that never wait")
    problem: MarkovRewardProcess = setting(MarkovRewardProcess, "")
    graph: LinksConfig = setting(lambda: LinksConfig(kind="offsets"), "")
    method: PushPull = setting(PushPull, "")
    wake_ups: int | None = setting(
        None, "wake-ups in an iteration, of whichever nodes; null for as many as nodes", "wake-ups", ge=1, le=1_000_000
    )
    workers: WorkersConfig = setting(lambda: agents(8), "")
    training: SystemTraining = setting(lambda: SystemTraining(iterations=6000, chunk=500), "")

    @property
    def wake_ups_of_an_iteration(self) -> int:
        """As set, or as many as nodes."""
        return self.workers.count if self.wake_ups is None else self.wake_ups

    @property
    def step_size(self) -> float:
        """The step of a node."""
        own = self.method.step_size
        return self.method.step_per_node * self.workers.count if own is None else own

    @model_validator(mode="after")
    def _every_node_has_data(self) -> "AsyncEvaluationConfig":
        samples, nodes = self.problem.size[0], self.workers.count
        if samples < nodes:
            key = "states" if self.problem.kind == "tabular" else "samples"
            raise ValueError(f"problem.{key}: got {samples}, allowed: one or more for each of {nodes} nodes")
        return self

    @model_validator(mode="after")
    def _everything_reaches_everybody(self) -> "AsyncEvaluationConfig":
        common = math.gcd(self.workers.count, *self.graph.offsets)
        if self.graph.kind == "offsets" and common != 1:
            raise ValueError(
                f"graph.offsets: got {list(self.graph.offsets)}, by which nothing gets from one of "
                f"{self.workers.count} nodes to the next; allowed: without a common divisor with {self.workers.count}"
            )
        return self

    @model_validator(mode="after")
    def _nobody_waits(self) -> "AsyncEvaluationConfig":
        if self.workers.topology != "parallel-links":
            raise ValueError(
                f"workers.topology: got {self.workers.topology}, allowed: parallel-links, since messages do not wait"
            )
        if self.workers.carry_over:
            raise ValueError("workers.carry_over: got true, allowed: false, since there are no rounds that end")
        return self
