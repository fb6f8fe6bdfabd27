"""Every method's settings and facts: when it absorbs gradients, and what limits it has."""

import math
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, setting
from nigt_jax.config._method_kinds import ByArrival, InRounds, MethodConfig, WithMomentum, extrapolates, named
from nigt_jax.config._related_methods import (
    AdaptiveNigt,
    FednpgAdmm,
    FednpgExact,
    FedpgBr,
    Lapg,
    RennalaNharpg,
    RobustNigt,
    SynchronousNharpg,
    SynchronousRobustNigt,
)
from nigt_jax.config._workers import WorkersConfig


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaNigt(WithMomentum, InRounds):
    """Counts the first M gradients from whoever is fast; NIGT step."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "nigt"

    name: Literal["rennala_nigt"] = named("rennala_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class MaleniaNigt(WithMomentum, InRounds):
    """Collects until the harmonic mean of the counts is M/n, and weighs workers equally; NIGT step."""

    clock: ClassVar[str] = "malenia"
    update: ClassVar[str] = "nigt"

    name: Literal["malenia_nigt"] = named("malenia_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousNigt(WithMomentum, InRounds):
    """Waits for M/n gradients of every worker; NIGT step."""

    clock: ClassVar[str] = "synchronous"
    update: ClassVar[str] = "nigt"

    name: Literal["synchronous_nigt"] = named("synchronous_nigt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class MSynchronousNigt(WithMomentum, InRounds):
    """Waits for one gradient of each of the first M workers; NIGT step."""

    clock: ClassVar[str] = "m_synchronous"
    update: ClassVar[str] = "nigt"

    name: Literal["m_synchronous_nigt"] = named("m_synchronous_nigt")

    def check(self, workers: WorkersConfig) -> None:
        if self.largest_batch > workers.count:
            raise ValueError(
                f"method.batch_size: got {self.largest_batch} for {self.name}, which counts one gradient a worker; "
                f"allowed: up to workers.count, {workers.count}"
            )


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaIgt(WithMomentum, InRounds):
    """Counts the first M gradients from whoever is fast; NIGT step without its normalisation, an ablation."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "igt"

    name: Literal["rennala_igt"] = named("rennala_igt")


@dataclass(frozen=True, kw_only=True, config=RULES)
class RennalaPg(InRounds):
    """Counts the first M gradients from whoever is fast; plain ascent."""

    clock: ClassVar[str] = "rennala"
    update: ClassVar[str] = "ascent"

    name: Literal["rennala_pg"] = named("rennala_pg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class SynchronousPg(InRounds):
    """Waits for M/n gradients of every worker; plain ascent."""

    clock: ClassVar[str] = "synchronous"
    update: ClassVar[str] = "ascent"

    name: Literal["synchronous_pg"] = named("synchronous_pg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class Afedpg(WithMomentum, ByArrival):
    """Absorbs every gradient at once; NIGT step."""

    clock: ClassVar[str] = "afedpg"
    update: ClassVar[str] = "nigt"

    name: Literal["afedpg"] = named("afedpg")


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingmasterNigt(WithMomentum, ByArrival):
    """Absorbs every gradient that is not too old at once; NIGT step."""

    clock: ClassVar[str] = "ringmaster"
    update: ClassVar[str] = "nigt"

    name: Literal["ringmaster_nigt"] = named("ringmaster_nigt")
    max_delay: int = setting(
        10, "delay from which on a gradient is discarded (its R)", "updates", ge=1, le=1_000_000_000, traced=True
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingmasterAgnosticNigt(ByArrival):
    """Ringmaster with a step, a momentum and a largest delay that follow from the number of the update; NIGT step.

    The newest weight is that of the first update; it falls.
    """

    clock: ClassVar[str] = "agnostic"
    update: ClassVar[str] = "agnostic_nigt"

    name: Literal["ringmaster_agnostic_nigt"] = named("ringmaster_agnostic_nigt")
    extrapolation: bool = extrapolates()

    def how_to_weigh(self, weight: float) -> str:
        return f"from update {math.ceil(weight**-2 * (1 - 1e-9)):,} on"


@dataclass(frozen=True, kw_only=True, config=RULES)
class RingleaderNigt(WithMomentum, ByArrival):
    """Once every worker has delivered, an update of the mean of all workers' means for each of them; NIGT step.

    An update may have more gradients than the one that it needs at least; its first one has some of every worker.
    """

    clock: ClassVar[str] = "ringleader"
    update: ClassVar[str] = "nigt_of_table"

    name: Literal["ringleader_nigt"] = named("ringleader_nigt")

    @property
    def not_on_ray(self) -> str:
        return "which collects gradients over several updates"


@dataclass(frozen=True, kw_only=True, config=RULES)
class AsynchronousPg(ByArrival):
    """Absorbs every gradient at once; plain ascent."""

    clock: ClassVar[str] = "afedpg"
    update: ClassVar[str] = "ascent"

    name: Literal["asynchronous_pg"] = named("asynchronous_pg")


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
