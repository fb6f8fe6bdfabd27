"""Suites of environments: the names and settings of each."""

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import RULES, ModuleClass, Number, setting

# Brax 0.14's registry, less `swimmer`: its physics calls a form of jnp.clip that JAX no longer has.
# A test holds this list against the registry.
ENVIRONMENTS = {
    "ant": "Brax: a body on four legs runs",
    "halfcheetah": "Brax: a flat body on two legs runs; it never falls",
    "hopper": "Brax: a flat body on one leg hops",
    "humanoid": "Brax: a body on two legs walks upright",
    "humanoidstandup": "Brax: a body that lies on the ground gets up",
    "inverted_double_pendulum": "Brax: a cart balances two poles, one on top of the other",
    "inverted_pendulum": "Brax: a cart balances a pole",
    "pusher": "Brax: an arm pushes something to a place",
    "reacher": "Brax: an arm with two joints reaches for a point",
    "walker2d": "Brax: a flat body on two legs walks",
}
# Brax has it for its own tests, and so have we.
FOR_TESTS = ("fast",)
BACKENDS = ("spring", "positional", "generalized", "mjx")
_MEANING = "Brax environment; or a class like one, importable from the current folder and made without arguments"


@dataclass(frozen=True, kw_only=True, config=RULES)
class EnvironmentConfig:
    """The environment. Actions are in [-1, 1]; every episode starts from a fresh reset."""

    suite: ClassVar[str]

    name: str = setting("", _MEANING)
    horizon: int = setting(200, "length at which an episode is cut", "environment steps", ge=1, le=1_000_000)
    divergence_penalty: Number | None = setting(
        None,
        "loss for every step that an episode misses because the physics broke (a NaN or an infinity); null for twice "
        "the lowest reward of a step so far, nothing where none was below 0",
        "reward",
        ge=0,
        traced=True,
    )
    max_diverged: Number = setting(
        0.5,
        "fraction of the newest 100 or more episodes that may break the physics; beyond it the run stops. 1 for never",
        ge=0,
        le=1,
    )


@dataclass(frozen=True, kw_only=True, config=RULES)
class BraxEnvironment(EnvironmentConfig):
    """An environment of Brax."""

    suite: ClassVar[str] = "brax"

    name: Literal[(*ENVIRONMENTS, *FOR_TESTS)] = setting("hopper", _MEANING)  # type: ignore[valid-type]
    backend: Literal[BACKENDS] = setting("spring", "physics pipeline")  # type: ignore[valid-type]


@dataclass(frozen=True, kw_only=True, config=RULES)
class CustomEnvironment(EnvironmentConfig):
    """A user's own environment."""

    suite: ClassVar[str] = "module:Class"

    name: ModuleClass = setting("module:Class", _MEANING)


SUITES: dict[str, type[EnvironmentConfig]] = {"brax": BraxEnvironment, "module:Class": CustomEnvironment}


def suite_of(name: str) -> str:
    """The suite that has an environment of this name, whether there is one or not."""
    return "module:Class" if ":" in name else "brax"
