"""Every estimator's settings and facts."""

from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, Number, setting


def _name(name: str) -> Any:
    return setting(name, "policy_gradient is the paper's eq. (3); the others reduce its variance")


@dataclass(frozen=True, kw_only=True, config=RULES)
class EstimatorConfig:
    """How trajectories become a policy gradient."""

    compares_episodes: ClassVar[bool] = False  # whether its numbers depend on which episodes are computed together
    least_episodes: ClassVar[int] = 1  # that have to be compared, or nothing is left of a gradient

    name: str = _name("")
    discount: Number = setting(
        0.99, "discount factor of the objective", "per environment step", gt=0, le=1, traced=True
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class PolicyGradient(EstimatorConfig):
    """The paper's eq. (3): rewards discounted from the start of the episode, no baseline."""

    name: Literal["policy_gradient"] = _name("policy_gradient")


@dataclass(frozen=True, kw_only=True, config=RULES)
class ReturnToGo(EstimatorConfig):
    """Rewards discounted from the time of the action, no baseline."""

    name: Literal["return_to_go"] = _name("return_to_go")


@dataclass(frozen=True, kw_only=True, config=RULES)
class LeaveOneOut(EstimatorConfig):
    """Return to go, less the mean of the other episodes' at the same time step."""

    compares_episodes: ClassVar[bool] = True
    least_episodes: ClassVar[int] = 2

    name: Literal["leave_one_out"] = _name("leave_one_out")


@dataclass(frozen=True, kw_only=True, config=RULES)
class Gae(EstimatorConfig):
    """Generalised advantages over a learned value baseline."""

    compares_episodes: ClassVar[bool] = True

    name: Literal["gae"] = _name("gae")
    gae_lambda: Number = setting(0.95, "lambda of generalised advantage estimation", ge=0, le=1, traced=True)
    critic_learning_rate: Number = setting(1e-3, "Adam step of the value baseline", gt=0, traced=True)
    critic_steps: int = setting(
        8, "Adam steps of the value baseline for each block of episodes", "gradient steps", ge=1, le=100_000
    )


ESTIMATORS: dict[str, type[EstimatorConfig]] = {
    "policy_gradient": PolicyGradient,
    "return_to_go": ReturnToGo,
    "leave_one_out": LeaveOneOut,
    "gae": Gae,
}
