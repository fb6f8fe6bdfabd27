"""What methods' settings have in common: in rounds or by arrivals, with momentum or without."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nigt_jax.config._amounts import AmountText
from nigt_jax.config._fields import LARGEST_BATCH, RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig


def named(name: str) -> Any:
    """The field of a method's name, which tells its section from those of others."""
    return setting(name, "when gradients are absorbed, and the update")


@dataclass(frozen=True, kw_only=True, config=RULES)
class MethodConfig:
    """When gradients are absorbed, and what the server does with them."""

    schedule: ClassVar[Literal["rounds", "arrivals"]]
    clock: ClassVar[str]  # methods of the same clock keep the same time
    update: ClassVar[str]  # methods of the same schedule and update share programs
    compares: ClassVar[Literal["round", "gradient", "worker"]]  # whose episodes an estimator may compare
    not_simulated: ClassVar[str] = ""  # why nigt simulate has no figures of it
    most_parameters: ClassVar[int | None] = None  # of a policy; None for any number

    name: str = named("")
    learning_rate: Number = setting(
        2**-5, "length of a step of the iterate (the paper's alpha)", "distance in parameter space", gt=0, traced=True
    )
    learning_rate_half_life: Annotated[Number, Field(gt=0)] | AmountText | None = setting(
        None,
        "round h, or amount, at which steps are half as long: learning_rate / (1 + t / h) after t rounds, or amounts, "
        "with h = 2 in N-PG-IGT; null for constant steps",
        "rounds",
        traced=True,
    )
    trajectories_per_gradient: int = setting(1, "episodes averaged into one gradient", "episodes", ge=1, le=1_000_000)

    @property
    def newest_weight(self) -> float:
        """Weight of the newest gradient in a direction, 1 - momentum; 1 in plain ascent."""
        return 1.0

    @property
    def transport_weight(self) -> float:
        """Weight by which query points lie ahead of the iterate; 1 where they do not."""
        return 1.0

    @property
    def not_on_ray(self) -> str:
        """Why workers that are processes cannot have it, in a clause on the method; empty where they can."""
        return ""

    def how_to_weigh(self, weight: float) -> str:
        """What it takes for the newest gradient to weigh so little, in a few words."""
        del weight
        return "one gradient a step, no momentum"

    @property
    def gradients_per_update(self) -> int:
        """Gradients that an update needs, after the first one."""
        return 1

    @property
    def gradients_in_first_update(self) -> int:
        """Gradients that the first update needs."""
        return 1

    @property
    def largest_batch(self) -> int:
        """Gradients that any update needs at most."""
        return max(self.gradients_per_update, self.gradients_in_first_update)

    @property
    def episodes_per_update(self) -> int:
        """Episodes of every update but the first."""
        return self.gradients_per_update * self.trajectories_per_gradient

    @property
    def server_episodes(self) -> int:
        """Episodes that the server plays at once for itself."""
        return 0

    @property
    def most_server_episodes(self) -> int:
        """Episodes that the server plays for itself in a round, at most."""
        return 0

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        """Number of episodes that an estimator may compare, and the setting that makes them more."""
        raise NotImplementedError

    def counted(self, horizon: int) -> dict[str, int]:
        """Products of settings that have to fit into a counter, by their keys."""
        raise NotImplementedError

    def numbers_up(self, parameters: int, uploads: int) -> int:
        """Numbers that the uploads of a round carry, of a policy of so many parameters."""
        return parameters * uploads

    def splits(self, devices: int) -> bool:
        """Whether so many devices can share the episodes of an update evenly."""
        raise NotImplementedError

    def check(self, workers: WorkersConfig) -> None:
        """Refuses workers that the method cannot have; ValueError."""


@dataclass(frozen=True, kw_only=True, config=RULES)
class InRounds(MethodConfig):
    """A method that collects gradients of one query point in rounds."""

    schedule: ClassVar[Literal["rounds", "arrivals"]] = "rounds"
    compares: ClassVar[Literal["round", "gradient", "worker"]] = "round"

    batch_size: int = setting(
        20, "gradients counted a round (the paper's M)", "gradients", ge=1, le=LARGEST_BATCH, traced=True
    )
    initial_batch_size: int | None = setting(
        None,
        "gradients counted in the first round (M_init); null for batch_size",
        "gradients",
        ge=1,
        le=LARGEST_BATCH,
        traced=True,
    )

    @property
    def gradients_per_update(self) -> int:
        return self.batch_size

    @property
    def gradients_in_first_update(self) -> int:
        return self.initial_batch_size or self.batch_size

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        del workers
        return self.episodes_per_update, "batch_size"

    def counted(self, horizon: int) -> dict[str, int]:
        del horizon
        episodes = self.largest_batch * self.trajectories_per_gradient
        return {"method.batch_size * method.trajectories_per_gradient": episodes}

    def splits(self, devices: int) -> bool:
        return self.episodes_per_update % devices == 0


@dataclass(frozen=True, kw_only=True, config=RULES)
class ByArrival(MethodConfig):
    """A method that absorbs gradients one at a time, as they arrive; each in an update of its own."""

    schedule: ClassVar[Literal["rounds", "arrivals"]] = "arrivals"
    compares: ClassVar[Literal["round", "gradient", "worker"]] = "gradient"

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        del workers
        return self.trajectories_per_gradient, "trajectories_per_gradient"

    def counted(self, horizon: int) -> dict[str, int]:
        steps = self.trajectories_per_gradient * horizon
        return {"method.trajectories_per_gradient * environment.horizon": steps}

    def splits(self, devices: int) -> bool:
        """Arrivals come in blocks of any size."""
        del devices
        return True

    def check(self, workers: WorkersConfig) -> None:
        if workers.topology == "allreduce":
            raise ValueError(
                f"workers.topology: got allreduce for {self.name}, which absorbs one gradient at a time; "
                "allowed: parallel-links, shared-link"
            )


@dataclass(frozen=True, kw_only=True, config=RULES)
class ByWorker(InRounds):
    """A method that hears every worker by itself; by default each computes as many. Numbers decide shapes."""

    clock: ClassVar[str] = "synchronous"
    compares: ClassVar[Literal["round", "gradient", "worker"]] = "worker"

    batch_size: int = setting(
        20, "gradients of all workers together, an even share each", "gradients", ge=1, le=LARGEST_BATCH
    )
    initial_batch_size: int | None = setting(
        None, "gradients in the first round; null for batch_size", "gradients", ge=1, le=LARGEST_BATCH
    )

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        """Those of each worker by itself, for no other knows them."""
        return -(-self.batch_size // workers) * self.trajectories_per_gradient, "trajectories_per_gradient"


def extrapolates() -> Any:
    """The field that says whether gradients are taken ahead."""
    return setting(True, "gradients are taken ahead of the iterate; false, an ablation: at the iterate", traced=True)


@dataclass(frozen=True, kw_only=True, config=RULES)
class Averaged:
    """A direction that is an average over past gradients."""

    momentum: Number = setting(
        0.9, "weight of the past direction, 1 - eta in the paper's letters", ge=0, le=1 - 1e-6, traced=True
    )

    @property
    def newest_weight(self) -> float:
        return 1 - self.momentum


@dataclass(frozen=True, kw_only=True, config=RULES)
class WithMomentum(Averaged):
    """One whose gradients are taken ahead, to make up for the age of the past."""

    extrapolation: bool = extrapolates()

    @property
    def transport_weight(self) -> float:
        return self.newest_weight if self.extrapolation else 1.0

    def how_to_weigh(self, weight: float) -> str:
        """What it takes for the newest gradient to weigh so little, in a few words."""
        return f"needs momentum {1 - weight:.6g}"
