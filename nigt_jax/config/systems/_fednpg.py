"""Settings of FedNPG and FedNAC."""

from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig
from nigt_jax.config.systems._base import SystemConfig, SystemEvaluation, SystemTraining, agents
from nigt_jax.config.systems._graph import GraphConfig

_LARGEST_SIDE = 40  # 1,600 cells: a dense system of equations of each agent


@dataclass(frozen=True, kw_only=True, config=RULES)
class GridWorldConfig:
    """A square of cells in which one goes right or down; every agent rewards a part of one path through it."""

    side: int = setting(10, "cells along each side", "cells", ge=2, le=_LARGEST_SIDE)
    discount: Number = setting(0.99, "of rewards, a step", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True, config=RULES)
class FednpgMethod:
    """The natural policy gradient that agents make together."""

    policy: Literal["softmax", "linear"] = setting(
        "softmax",
        "softmax: a logit for every state and action, and exact values (FedNPG); linear: logits that are linear in "
        "features of row and column, and values that a critic learns from samples (FedNAC)",
    )
    learning_rate: Number = setting(0.1, "step size eta", gt=0)
    entropy: Number = setting(0.005, "weight tau of the entropy in the reward; 0 for none; of softmax", ge=0)
    tracking: bool = setting(True, "track the mean of all agents' values; without it each uses its own")
    critic_samples: int = setting(200, "samples of each agent's critic, of linear", "samples", ge=1, le=1_000_000)
    critic_step: Number = setting(0.1, "step size beta of the critic, of linear", gt=0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class FednpgConfig(SystemConfig):
    """Federated natural policy gradient on a graph: same world, private rewards, no server."""

    system: Literal["fednpg"] = setting("fednpg", "which system")
    world: GridWorldConfig = setting(GridWorldConfig, "")
    method: FednpgMethod = setting(FednpgMethod, "")
    graph: GraphConfig = setting(lambda: GraphConfig(kind="directed_ring", weights="even"), "")
    workers: WorkersConfig = setting(lambda: agents(10), "")
    training: SystemTraining = setting(lambda: SystemTraining(iterations=50, chunk=10), "")
    evaluation: SystemEvaluation = setting(lambda: SystemEvaluation(every=5), "")

    @model_validator(mode="after")
    def _forgets_no_more_than_all(self) -> "FednpgConfig":
        own = self.method
        most = (1 - self.world.discount) / own.entropy if own.entropy else float("inf")
        if own.policy == "softmax" and own.learning_rate > most * (1 + 1e-12):
            raise ValueError(
                f"method.learning_rate: got {own.learning_rate} with method.entropy {own.entropy}, allowed: up to "
                f"(1 - world.discount) / method.entropy = {most:.6g}, where a step forgets the policy before"
            )
        return self
