"""Every method's settings and facts: when it absorbs gradients, and what limits it has."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nigt_jax.config._amounts import AmountText
from nigt_jax.config._fields import LARGEST_BATCH, RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig


def _name(name: str) -> Any:
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

    name: str = _name("")
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
class _InRounds(MethodConfig):
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
class _ByArrival(MethodConfig):
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


def _extrapolation() -> Any:
    return setting(True, "gradients are taken ahead of the iterate; false, an ablation: at the iterate", traced=True)


@dataclass(frozen=True, kw_only=True, config=RULES)
class _Averaged:
    """A direction that is an average over past gradients."""

    momentum: Number = setting(
        0.9, "weight of the past direction, 1 - eta in the paper's letters", ge=0, le=1 - 1e-6, traced=True
    )

    @property
    def newest_weight(self) -> float:
        return 1 - self.momentum


@dataclass(frozen=True, kw_only=True, config=RULES)
class _WithMomentum(_Averaged):
    """One whose gradients are taken ahead, to make up for the age of the past."""

    extrapolation: bool = _extrapolation()

    @property
    def transport_weight(self) -> float:
        return self.newest_weight if self.extrapolation else 1.0

    def how_to_weigh(self, weight: float) -> str:
        """What it takes for the newest gradient to weigh so little, in a few words."""
        return f"needs momentum {1 - weight:.6g}"


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaNigt(_WithMomentum, _InRounds):
    """Counts the first M gradients from whoever is fast; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "nigt"

    name: Literal["rennala_nigt"] = _name("rennala_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class MaleniaNigt(_WithMomentum, _InRounds):
    """Collects until the harmonic mean of the counts is M/n, and weighs workers equally; NIGT step."""

    clock: ClassVar[str] = "malenia"
    update: ClassVar[str] = "nigt"

    name: Literal["malenia_nigt"] = _name("malenia_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousNigt(_WithMomentum, _InRounds):
    """Waits for M/n gradients of every worker; NIGT step."""

    clock: ClassVar[str] = "synchronous"
    update: ClassVar[str] = "nigt"

    name: Literal["synchronous_nigt"] = _name("synchronous_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class MSynchronousNigt(_WithMomentum, _InRounds):
    """Waits for one gradient of each of the first M workers; NIGT step."""

    clock: ClassVar[str] = "m_synchronous"
    update: ClassVar[str] = "nigt"

    name: Literal["m_synchronous_nigt"] = _name("m_synchronous_nigt")

    def check(self, workers: WorkersConfig) -> None:
        if self.largest_batch > workers.count:
            raise ValueError(
                f"method.batch_size: got {self.largest_batch} for {self.name}, which counts one gradient a worker; "
                f"allowed: up to workers.count, {workers.count}"
            )


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaIgt(_WithMomentum, _InRounds):
    """Counts the first M gradients from whoever is fast; NIGT step without its normalisation, an ablation."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "igt"

    name: Literal["rennala_igt"] = _name("rennala_igt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaPg(_InRounds):
    """Counts the first M gradients from whoever is fast; plain ascent."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "ascent"

    name: Literal["rennala_pg"] = _name("rennala_pg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousPg(_InRounds):
    """Waits for M/n gradients of every worker; plain ascent."""

    clock: ClassVar[str] = "synchronous"
    update: ClassVar[str] = "ascent"

    name: Literal["synchronous_pg"] = _name("synchronous_pg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaNharpg(_Averaged, _InRounds):
    """Counts the first M gradients from whoever is fast, each of twice the episodes; Hessian-aided momentum."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "harpg"
    not_simulated: ClassVar[str] = "its gradients take twice the time: see rennala_nigt with times doubled"

    name: Literal["rennala_nharpg"] = _name("rennala_nharpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousNharpg(_Averaged, _InRounds):
    """Waits for M/n gradients of every worker, each of twice the episodes; Hessian-aided momentum."""

    clock: ClassVar[str] = "synchronous"
    update: ClassVar[str] = "harpg"
    not_simulated: ClassVar[str] = "its gradients take twice the time: see synchronous_nigt with times doubled"

    name: Literal["synchronous_nharpg"] = _name("synchronous_nharpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class Afedpg(_WithMomentum, _ByArrival):
    """Absorbs every gradient at once; NIGT step."""

    clock: ClassVar[str] = "afedpg"
    update: ClassVar[str] = "nigt"

    name: Literal["afedpg"] = _name("afedpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingmasterNigt(_WithMomentum, _ByArrival):
    """Absorbs every gradient that is not too old at once; NIGT step."""

    clock: ClassVar[str] = "ringmaster"
    update: ClassVar[str] = "nigt"

    name: Literal["ringmaster_nigt"] = _name("ringmaster_nigt")
    max_delay: int = setting(
        10, "delay from which on a gradient is discarded (its R)", "updates", ge=1, le=1_000_000_000, traced=True
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingmasterAgnosticNigt(_ByArrival):
    """Ringmaster with a step, a momentum and a largest delay that follow from the number of the update; NIGT step.

    The newest weight is that of the first update; it falls.
    """

    clock: ClassVar[str] = "agnostic"
    update: ClassVar[str] = "agnostic_nigt"

    name: Literal["ringmaster_agnostic_nigt"] = _name("ringmaster_agnostic_nigt")
    extrapolation: bool = _extrapolation()

    def how_to_weigh(self, weight: float) -> str:
        return f"from update {math.ceil(weight**-2 * (1 - 1e-9)):,} on"


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingleaderNigt(_WithMomentum, _ByArrival):
    """Once every worker has delivered, an update of the mean of all workers' means for each of them; NIGT step.

    An update may have more gradients than the one that it needs at least; its first one has some of every worker.
    """

    clock: ClassVar[str] = "ringleader"
    update: ClassVar[str] = "nigt_of_table"

    name: Literal["ringleader_nigt"] = _name("ringleader_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class AsynchronousPg(_ByArrival):
    """Absorbs every gradient at once; plain ascent."""

    clock: ClassVar[str] = "afedpg"
    update: ClassVar[str] = "ascent"

    name: Literal["asynchronous_pg"] = _name("asynchronous_pg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class _ByWorker(_InRounds):
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


@dataclass(frozen=True, kw_only=True, config=RULES)
class Lapg(_ByWorker):
    """Every worker computes in every round, and uploads only what has changed enough; plain ascent."""

    update: ClassVar[str] = "lapg"

    not_simulated: ClassVar[str] = "what its workers upload depends on their data"

    name: Literal["lapg"] = _name("lapg")
    trigger_weight: Number = setting(
        0.1, "weight xi of every squared step in the trigger: 0 uploads always", ge=0, traced=True
    )
    trigger_window: int = setting(10, "number D of past steps in the trigger", "rounds", ge=1, le=10_000)
    noise_weight: Number = setting(
        6.0, "weight of the variance of a worker's gradient in the trigger; 0 for no such term", ge=0, traced=True
    )
    noise_variance: Annotated[Number, Field(ge=0)] | None = setting(
        None,
        "variance of one episode's gradient in it: a bound, in theory 2 log(2 K / delta) V^2 for K rounds and a "
        "gradient within V of its mean; null for each worker's own sample variance",
        traced=True,
    )
    max_silence: int | None = setting(
        100,
        "rounds after which a silent worker uploads all the same; null for never",
        "rounds",
        ge=1,
        le=1_000_000_000,
        traced=True,
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class _Natural(_ByWorker):
    """A method that steps along a natural gradient y of all workers, whose mean Fisher matrix is H."""

    kl_step: bool = setting(
        False,
        "whether learning_rate is the length of a step in the norm of H, sqrt(y' H y): sqrt(2 delta) for a divergence "
        "KL of about delta; otherwise a step is learning_rate times y",
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class FednpgExact(_Natural):
    """Every worker sends its gradient and its Fisher matrix, and the server solves; plain ascent, small policies."""

    update: ClassVar[str] = "natural"

    not_simulated: ClassVar[str] = "its uploads are matrices: see synchronous_pg with longer exchanges"
    most_parameters: ClassVar[int | None] = 3_000  # a matrix has 36 MB, and every worker's is in memory

    name: Literal["fednpg_exact"] = _name("fednpg_exact")
    damping: Number = setting(0.01, "multiple of the identity that is added to H", gt=0, traced=True)

    def numbers_up(self, parameters: int, uploads: int) -> int:
        """A gradient and the half of a symmetric matrix each."""
        return uploads * (parameters + parameters * (parameters + 1) // 2)


@dataclass(frozen=True, kw_only=True, config=RULES)
class FednpgAdmm(_Natural):
    """Every worker solves for a natural gradient of its own, and multipliers bring them together; plain ascent."""

    update: ClassVar[str] = "admm"

    not_simulated: ClassVar[str] = "its rounds have an exchange for every step of the consensus"

    name: Literal["fednpg_admm"] = _name("fednpg_admm")
    penalty: Number = setting(
        0.1, "weight rho of disagreement, which also damps the Fisher matrices", gt=0, traced=True
    )
    dual_order: Literal["server_first", "agent_first"] = setting(
        "server_first",
        "whether multipliers move after the consensus, or before the message, by the one before",
        traced=True,
    )
    admm_steps: int = setting(1, "steps of the consensus in a round, each an exchange", "steps", ge=1, le=1000)
    cg_iterations: int = setting(
        10, "conjugate-gradient iterations of a worker's system", "iterations", ge=1, le=10_000
    )

    def numbers_up(self, parameters: int, uploads: int) -> int:
        """A vector in every exchange and, where steps are scaled by KL, a curvature after the last one."""
        return parameters * uploads + (uploads // self.admm_steps if self.kl_step else 0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class AdaptiveNigt(_WithMomentum, _InRounds):
    """As rennala_nigt, with an M that follows the noise of gradients and the times of workers; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "adaptive"
    not_simulated: ClassVar[str] = (
        "its M depends on the noise of gradients: see rennala_nigt with several --batch-sizes"
    )

    name: Literal["adaptive_nigt"] = _name("adaptive_nigt")
    smallest_batch: int = setting(2, "smallest M", "gradients", ge=2, le=LARGEST_BATCH, traced=True)
    most_in_a_batch: int = setting(100, "largest M", "gradients", ge=2, le=LARGEST_BATCH, traced=True)
    memory: Number = setting(20.0, "rounds that running means reach back", "rounds", ge=1, le=1e6, traced=True)

    @property
    def largest_batch(self) -> int:
        return max(self.batch_size, self.gradients_in_first_update, self.most_in_a_batch)

    def check(self, workers: WorkersConfig) -> None:
        del workers
        if not self.smallest_batch <= self.batch_size <= self.most_in_a_batch:
            raise ValueError(
                f"method.batch_size: got {self.batch_size}, allowed: method.smallest_batch to method.most_in_a_batch, "
                f"{self.smallest_batch} to {self.most_in_a_batch}"
            )


ROBUST_RULES = {
    "mean": "of all; no defence",
    "trimmed_mean": "of each coordinate, without the share at either end",
    "coordinate_median": "of each coordinate",
    "mean_around_median": "of each coordinate, without the share farthest from its median",
    "multi_krum": "without the share whose nearest others are farthest",
    "geometric_median": "the point of least total distance",
    "filtered_mean": "of all within filter_radius of one that most are near, FedPG-BR's",
}


@dataclass(frozen=True, kw_only=True, config=RULES)
class _Robust(_WithMomentum, _ByWorker):
    """NIGT with a combination of the workers' means that a few of them cannot spoil."""

    not_simulated: ClassVar[str] = "a robust rule has a noise of its own; its rounds are those of the plain method"

    rule: Literal[tuple(ROBUST_RULES)] = setting(  # type: ignore[valid-type]
        "trimmed_mean", "how the workers' means are combined"
    )
    tolerated: Number = setting(
        0.2, "share of the voices that a rule leaves out, or lets be dishonest", ge=0, lt=0.5, traced=True
    )
    voices: Literal["workers", "gradients"] = setting(
        "workers", "whether a worker counts once, or as often as it has counted gradients"
    )
    filter_radius: Number = setting(
        1.0, "distance that honest workers' means keep, for filtered_mean", gt=0, traced=True
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class RobustNigt(_Robust):
    """Counts the first M gradients from whoever is fast; a robust combination of the workers' means; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "robust"

    name: Literal["robust_nigt"] = _name("robust_nigt")

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        """A worker may have a single gradient."""
        del workers
        return self.trajectories_per_gradient, "trajectories_per_gradient"


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousRobustNigt(_Robust):
    """Waits for M/n gradients of every worker; a robust combination of the workers' means; NIGT step."""

    update: ClassVar[str] = "synchronous_robust"  # a program of its own: workers have fewer places in a round

    name: Literal["synchronous_robust_nigt"] = _name("synchronous_robust_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class FedpgBr(_ByWorker):
    """Filters the workers' means; then the server takes variance-reduced steps with episodes of its own."""

    update: ClassVar[str] = "scsg"

    not_simulated: ClassVar[str] = "its server plays on after every round, for as long as it draws"

    name: Literal["fedpg_br"] = _name("fedpg_br")
    server_batch: int = setting(
        4, "episodes that the server plays for each of its own steps (b)", "episodes", ge=1, le=LARGEST_BATCH
    )
    max_inner: int = setting(
        100, "steps of the server in a round, at most; it draws how many", "steps", ge=1, le=1_000_000, traced=True
    )
    sigma: Number = setting(1.0, "how far one episode's gradient is from the expected one, at most", gt=0, traced=True)
    delta: Number = setting(0.6, "probability with which the filter may be wrong", gt=0, lt=1, traced=True)
    tolerated: Number = setting(0.4, "share alpha of the workers that may be dishonest", ge=0, lt=0.5, traced=True)
    drift: Number | None = setting(
        None,
        "the server's steps of a round end where the mean weight of its episodes is farther than this from 1; null for "
        "never",
        gt=0,
        traced=True,
    )
    server_time: Number = setting(
        1.0, "simulated time of an episode of the server", "simulated time", ge=0, traced=True
    )

    @property
    def server_episodes(self) -> int:
        return self.server_batch

    @property
    def most_server_episodes(self) -> int:
        return self.max_inner * self.server_batch

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        """Those of a worker, or of a step of the server where these are fewer."""
        return min(super().compared_episodes(workers), (self.server_batch, "server_batch"))

    def counted(self, horizon: int) -> dict[str, int]:
        return super().counted(horizon) | {
            "method.max_inner * method.server_batch": self.most_server_episodes,
            "method.server_batch * environment.horizon": self.server_batch * horizon,
        }


METHODS: dict[str, type[MethodConfig]] = {
    "rennala_nigt": RennalaNigt,
    "malenia_nigt": MaleniaNigt,
    "synchronous_nigt": SynchronousNigt,
    "m_synchronous_nigt": MSynchronousNigt,
    "rennala_igt": RennalaIgt,
    "rennala_pg": RennalaPg,
    "synchronous_pg": SynchronousPg,
    "rennala_nharpg": RennalaNharpg,
    "synchronous_nharpg": SynchronousNharpg,
    "afedpg": Afedpg,
    "ringmaster_nigt": RingmasterNigt,
    "ringmaster_agnostic_nigt": RingmasterAgnosticNigt,
    "ringleader_nigt": RingleaderNigt,
    "asynchronous_pg": AsynchronousPg,
    "adaptive_nigt": AdaptiveNigt,
    "robust_nigt": RobustNigt,
    "synchronous_robust_nigt": SynchronousRobustNigt,
    "lapg": Lapg,
    "fednpg_exact": FednpgExact,
    "fednpg_admm": FednpgAdmm,
    "fedpg_br": FedpgBr,
}


def family(name: str) -> tuple[str, ...]:
    """The methods that share a program with one, itself among them: they differ in who is counted alone."""
    alike = lambda method: (method.schedule, method.update)
    return tuple(other for other, method in METHODS.items() if alike(method) == alike(METHODS[name]))
