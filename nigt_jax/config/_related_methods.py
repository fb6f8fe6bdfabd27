"""Settings and facts of the related methods: other momenta, robust rules, fewer uploads, natural gradients."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import LARGEST_BATCH, RULES, Number, setting
from nigt_jax.config._method_kinds import Averaged, ByWorker, InRounds, WithMomentum, named
from nigt_jax.config._workers import WorkersConfig


@dataclass(frozen=True, kw_only=True, config=RULES)
class _HessianAided(Averaged, InRounds):
    """Momentum that is moved by how the gradient has changed."""

    update: ClassVar[str] = "harpg"

    @property
    def not_on_ray(self) -> str:
        return "whose gradients need a second point"


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaNharpg(_HessianAided):
    """Counts the first M gradients from whoever is fast, each of twice the episodes; Hessian-aided momentum."""

    clock: ClassVar[str] = "rennala"
    not_simulated: ClassVar[str] = "its gradients take twice the time: see rennala_nigt with times doubled"

    name: Literal["rennala_nharpg"] = named("rennala_nharpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousNharpg(_HessianAided):
    """Waits for M/n gradients of every worker, each of twice the episodes; Hessian-aided momentum."""

    clock: ClassVar[str] = "synchronous"
    not_simulated: ClassVar[str] = "its gradients take twice the time: see synchronous_nigt with times doubled"

    name: Literal["synchronous_nharpg"] = named("synchronous_nharpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class AdaptiveNigt(WithMomentum, InRounds):
    """As rennala_nigt, with an M that follows the noise of gradients and the times of workers; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "adaptive"
    not_simulated: ClassVar[str] = "its M depends on the noise of gradients: see rennala_nigt's times by M"

    name: Literal["adaptive_nigt"] = named("adaptive_nigt")
    min_batch_size: int = setting(2, "smallest M", "gradients", ge=2, le=LARGEST_BATCH, traced=True)
    max_batch_size: int = setting(100, "largest M", "gradients", ge=2, le=LARGEST_BATCH, traced=True)
    memory: Number = setting(20.0, "rounds that running means reach back", "rounds", ge=1, le=1e6, traced=True)

    @property
    def largest_batch(self) -> int:
        return max(self.batch_size, self.gradients_in_first_update, self.max_batch_size)

    @property
    def not_on_ray(self) -> str:
        return "whose M follows simulated times"

    def check(self, workers: WorkersConfig) -> None:
        del workers
        if not self.min_batch_size <= self.batch_size <= self.max_batch_size:
            raise ValueError(
                f"method.batch_size: got {self.batch_size}, allowed: method.min_batch_size to method.max_batch_size, "
                f"{self.min_batch_size} to {self.max_batch_size}"
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
class _Robust(WithMomentum, ByWorker):
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

    @property
    def not_on_ray(self) -> str:
        return "which hears every worker by itself"


@dataclass(frozen=True, kw_only=True, config=RULES)
class RobustNigt(_Robust):
    """Counts the first M gradients from whoever is fast; a robust combination of the workers' means; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "robust"

    name: Literal["robust_nigt"] = named("robust_nigt")

    def compared_episodes(self, workers: int) -> tuple[int, str]:
        """A worker may have a single gradient."""
        del workers
        return self.trajectories_per_gradient, "trajectories_per_gradient"


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousRobustNigt(_Robust):
    """Waits for M/n gradients of every worker; a robust combination of the workers' means; NIGT step."""

    update: ClassVar[str] = "synchronous_robust"  # a program of its own: workers have fewer places in a round

    name: Literal["synchronous_robust_nigt"] = named("synchronous_robust_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class Lapg(ByWorker):
    """Every worker computes in every round, and uploads only what has changed enough; plain ascent."""

    update: ClassVar[str] = "lapg"

    not_simulated: ClassVar[str] = "what its workers upload depends on their data"

    name: Literal["lapg"] = named("lapg")
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
class _Natural(ByWorker):
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

    name: Literal["fednpg_exact"] = named("fednpg_exact")
    damping: Number = setting(0.01, "multiple of the identity that is added to H", gt=0, traced=True)

    @property
    def not_on_ray(self) -> str:
        return "whose workers send matrices"

    def numbers_up(self, parameters: int, uploads: int) -> int:
        """A gradient and the half of a symmetric matrix each."""
        return uploads * (parameters + parameters * (parameters + 1) // 2)


@dataclass(frozen=True, kw_only=True, config=RULES)
class FednpgAdmm(_Natural):
    """Every worker solves for a natural gradient of its own, and multipliers bring them together; plain ascent."""

    update: ClassVar[str] = "admm"

    not_simulated: ClassVar[str] = "its rounds have an exchange for every step of the consensus"

    name: Literal["fednpg_admm"] = named("fednpg_admm")
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

    @property
    def not_on_ray(self) -> str:
        several = self.admm_steps > 1 or self.kl_step
        return "with kl_step, or admm_steps above 1, which takes several exchanges a round" if several else ""

    def numbers_up(self, parameters: int, uploads: int) -> int:
        """A vector in every exchange and, where steps are scaled by KL, a curvature after the last one."""
        return parameters * uploads + (uploads // self.admm_steps if self.kl_step else 0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class FedpgBr(ByWorker):
    """Filters the workers' means; then the server takes variance-reduced steps with episodes of its own."""

    update: ClassVar[str] = "scsg"

    not_simulated: ClassVar[str] = "its server plays on after every round, for as long as it draws"

    name: Literal["fedpg_br"] = named("fedpg_br")
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
        "the server's steps of a round end where the mean weight of its episodes is farther than this from 1, so that "
        "how episodes went decides whether they count; null for never",
        gt=0,
        traced=True,
    )
    server_time: Number = setting(
        1.0, "simulated time of an episode of the server", "simulated time", ge=0, traced=True
    )

    @property
    def not_on_ray(self) -> str:
        return "which hears every worker by itself, and has a server that plays"

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
