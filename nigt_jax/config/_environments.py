"""Suites of environments: the names and settings of each."""

from typing import Any, ClassVar, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from nigt_jax.config._fields import RULES, ModuleClass, Number, setting

# Brax 0.14's registry. A test holds this list against the registry.
BRAX = {
    "ant": "Brax: a body on four legs runs",
    "halfcheetah": "Brax: a flat body on two legs runs; it never falls",
    "hopper": "Brax: a flat body on one leg hops",
    "humanoid": "Brax: a body on two legs walks upright",
    "humanoidstandup": "Brax: a body that lies on the ground gets up",
    "inverted_double_pendulum": "Brax: a cart balances two poles, one on top of the other",
    "inverted_pendulum": "Brax: a cart balances a pole",
    "pusher": "Brax: an arm pushes something to a place",
    "reacher": "Brax: an arm with two joints reaches for a point",
    "swimmer": "Brax: three links in a fluid swim forward",
    "walker2d": "Brax: a flat body on two legs walks",
}
# Of gymnax 1.0's, classic control and some of each other kind; a test plays all of them.
GYMNAX = {
    "CartPole-v1": "gymnax: a cart balances a pole; 2 actions",
    "Acrobot-v1": "gymnax: two links swing up; 3 actions",
    "MountainCar-v0": "gymnax: a car gathers speed to get up a hill; 3 actions",
    "MountainCarContinuous-v0": "gymnax: the same with a continuous force",
    "Pendulum-v1": "gymnax: a pendulum swings up and stays there; a continuous torque",
    "Asterix-MinAtar": "gymnax: a small Asterix; 5 actions",
    "Breakout-MinAtar": "gymnax: a small Breakout; 3 actions",
    "Freeway-MinAtar": "gymnax: a small Freeway; 3 actions",
    "SpaceInvaders-MinAtar": "gymnax: a small Space Invaders; 4 actions",
    "Catch-bsuite": "gymnax: a paddle catches what falls; 3 actions",
    "DeepSea-bsuite": "gymnax: exploration in a grid; 2 actions",
    "FourRooms-misc": "gymnax: a way through four rooms; 4 actions",
}
# MuJoCo Playground 0.2's registry; a test holds the list against it where Playground is installed.
DM_CONTROL = (
    *("AcrobotSwingup", "AcrobotSwingupSparse", "BallInCup", "CartpoleBalance", "CartpoleBalanceSparse"),
    *("CartpoleSwingup", "CartpoleSwingupSparse", "CheetahRun", "FingerSpin", "FingerTurnEasy", "FingerTurnHard"),
    *("FishSwim", "HopperHop", "HopperStand", "HumanoidRun", "HumanoidStand", "HumanoidWalk", "PendulumSwingup"),
    *("PointMass", "ReacherEasy", "ReacherHard", "SwimmerSwimmer6", "WalkerRun", "WalkerStand", "WalkerWalk"),
)
LOCOMOTION = (
    *("ApolloJoystickFlatTerrain", "BarkourJoystick", "BerkeleyHumanoidJoystickFlatTerrain"),
    *("BerkeleyHumanoidJoystickRoughTerrain", "G1JoystickFlatTerrain", "G1JoystickRoughTerrain"),
    *("Go1JoystickFlatTerrain", "Go1JoystickRoughTerrain", "Go1Getup", "Go1Handstand", "Go1Footstand"),
    *("H1InplaceGaitTracking", "H1JoystickGaitTracking", "Op3Joystick", "SpotFlatTerrainJoystick", "SpotGetup"),
    *("SpotJoystickGaitTracking", "T1JoystickFlatTerrain", "T1JoystickRoughTerrain"),
)
MANIPULATION = (
    *("AlohaHandOver", "AlohaSinglePegInsertion", "PandaPickCube", "PandaPickCubeOrientation"),
    *("PandaPickCubeCartesian", "PandaOpenCabinet", "PandaRobotiqPushCube", "LeapCubeReorient"),
    *("LeapCubeRotateZAxis", "AeroCubeRotateZAxis"),
)
PLAYGROUND = (
    dict.fromkeys(DM_CONTROL, "Playground: a task of the DeepMind Control Suite")
    | dict.fromkeys(LOCOMOTION, "Playground: locomotion of a robot of MuJoCo Menagerie")
    | dict.fromkeys(MANIPULATION, "Playground: manipulation with a robot of MuJoCo Menagerie")
)
ENVIRONMENTS = BRAX | GYMNAX | PLAYGROUND
# Brax has it for its own tests, and so have we.
FOR_TESTS = ("fast",)
BACKENDS = ("spring", "positional", "generalized", "mjx")
ONLY_ON = {"swimmer": ("generalized",)}  # Brax has a fluid there alone
_MEANING = "of nigt list environments; or a class of one's own, importable from the current folder"


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

    name: Literal[(*BRAX, *FOR_TESTS)] = setting("hopper", _MEANING)  # type: ignore[valid-type]
    backend: Literal[BACKENDS] = setting("spring", "physics pipeline")  # type: ignore[valid-type]

    @model_validator(mode="before")
    @classmethod
    def _default_there(cls, given: Any) -> Any:
        """Whoever leaves the backend out gets one that the environment has."""
        if not isinstance(given, dict | ArgsKwargs):
            return given  # the schema says what is wrong with that
        settings: Any = given if isinstance(given, dict) else given.kwargs
        there = ONLY_ON.get(str((settings or {}).get("name")))
        if there is None or "backend" in settings:
            return given
        settings = settings | {"backend": there[0]}
        return settings if isinstance(given, dict) else ArgsKwargs(given.args, settings)

    @model_validator(mode="after")
    def _is_there(self) -> "BraxEnvironment":
        there = ONLY_ON.get(self.name, BACKENDS)
        if self.backend not in there:
            raise ValueError(f"environment.backend: got {self.backend}, allowed with {self.name}: {', '.join(there)}")
        return self


@dataclass(frozen=True, kw_only=True, config=RULES)
class GymnaxEnvironment(EnvironmentConfig):
    """An environment of gymnax; its observation is flattened, and what it asks for as an action is scaled."""

    suite: ClassVar[str] = "gymnax"

    name: Literal[tuple(GYMNAX)] = setting("CartPole-v1", _MEANING)  # type: ignore[valid-type]


@dataclass(frozen=True, kw_only=True, config=RULES)
class PlaygroundEnvironment(EnvironmentConfig):
    """An environment of MuJoCo Playground. Where its observation is a mapping, the policy sees its part `state`."""

    suite: ClassVar[str] = "playground"

    name: Literal[tuple(PLAYGROUND)] = setting("CartpoleBalance", _MEANING)  # type: ignore[valid-type]
    implementation: Literal["jax", "warp"] = setting("jax", "of MuJoCo: jax runs everywhere, warp on CUDA alone")


@dataclass(frozen=True, kw_only=True, config=RULES)
class CustomEnvironment(EnvironmentConfig):
    """A user's own environment."""

    suite: ClassVar[str] = "module:Class"

    name: ModuleClass = setting("module:Class", _MEANING)


SUITES: dict[str, type[EnvironmentConfig]] = {
    "brax": BraxEnvironment,
    "gymnax": GymnaxEnvironment,
    "playground": PlaygroundEnvironment,
    "module:Class": CustomEnvironment,
}


def suite_of(name: str) -> str:
    """The suite that has an environment of this name, whether there is one or not."""
    if ":" in name:
        return "module:Class"
    return "gymnax" if name in GYMNAX else "playground" if name in PLAYGROUND else "brax"
