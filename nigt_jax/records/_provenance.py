"""``run.json``: what decides a run's numbers and is not in its configuration. Needs no JAX."""

import contextlib
import dataclasses
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

import nigt_jax
from nigt_jax.errors import UserError
from nigt_jax.files import read_text

FORMAT = 1
_PACKAGES = ("jax", "jaxlib", "brax", "mujoco")

Number = int | Literal["auto"]
# Of the first state and of the next two: four numbers each.
Row = Annotated[tuple[float | None, ...], Field(min_length=4, max_length=4)]
Rows = Annotated[tuple[Row, ...], Field(min_length=3, max_length=3)]


@dataclass(frozen=True)
class Resources:
    """Settings of `training` that may be left to us: as they were asked for, or as they were resolved.

    Attributes:
      devices: number of devices that share the episodes.
      lanes: number of lanes of each device.
      block: episodes that are computed together.
    """

    devices: Number
    lanes: Number | Literal["measured"]
    block: Number


@dataclass(frozen=True)
class EnvironmentRecord:
    """Which environment a run was made in.

    Attributes:
      given_as: "object" where it was an argument of `train`; "name" where the configuration names it.
      probe: what it does: numbers of the first state and of the next ones, None for those that are not finite.
    """

    given_as: Literal["name", "object"]
    probe: Rows


@dataclass(frozen=True)
class Trace:
    """A run's own copy of recorded times.

    Attributes:
      file: its name in the run's folder.
      sha256: digest of its content.
    """

    file: Annotated[str, Field(pattern=r"^trace[^/\x00]*$")]
    sha256: str


@dataclass(frozen=True)
class Shared:
    """Where the state of a run is that shares its checkpoints with others, as those of a sweep do.

    Attributes:
      checkpoints: their folder, relative to that of the run.
      row: number of the run in them, from 0.
    """

    checkpoints: Annotated[str, Field(pattern=r"^\.\./\.\./[^./\x00][^/\x00]*/[^./\x00][^/\x00]*/checkpoints$")]
    row: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Versions:
    """Versions of packages that wrote a part of a run.

    Attributes:
      from_iteration: where they began.
      packages: versions by name.
    """

    from_iteration: int
    packages: dict[str, str]


@dataclass(frozen=True)
class Change:
    """A setting that was changed when a run went on.

    Attributes:
      from_iteration: where it was.
      setting: dotted key.
      before: its value before, as JSON.
      after: its value from then on.
    """

    from_iteration: int
    setting: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class Written:
    """What ``run.json`` says of every run, that of a related system too.

    Attributes:
      format: format number of the run's folder.
      versions: versions of the packages that wrote it, in the order of iterations.
      platform: the devices' platform, as JAX names it.
      trace: the copy of recorded times; None where there are none.
    """

    format: int = FORMAT
    versions: tuple[Versions, ...] = Field(min_length=1)
    platform: str
    trace: Trace | None

    def other_versions(self) -> str:
        """The packages whose versions are no longer what they were, in words; empty where there are none."""
        return _compared(self.versions[-1].packages)


@dataclass(frozen=True, kw_only=True)
class Provenance(Written):
    """The content of ``run.json`` of a training run.

    Attributes:
      asked: resources as the user asked for them. config.yaml has what they were resolved to.
      resolved: the numbers in config.yaml, as this package wrote them: others are the user's.
      environment: the environment that it was made in.
      shared: where its state is, if it is with those of others.
      changes: settings that decide its numbers and were changed on the way, in the order of iterations.
    """

    asked: Resources
    resolved: Resources
    environment: EnvironmentRecord
    shared: Shared | None = None
    changes: tuple[Change, ...] = ()


_Kind = TypeVar("_Kind", bound=Written)


def read_provenance(path: Path, kind: type[_Kind]) -> _Kind | None:
    """Reads ``run.json``; None where there is none, as in runs of the first versions of this package.

    Args:
      path: the file.
      kind: what to read of it.

    Raises:
      UserError: it is damaged, or of a format that this version does not know.
    """
    try:
        text = read_text(path)
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise UserError(f"{path}: got format {data['format']}, allowed: {FORMAT}; the run was {_writer(data)}")
        return TypeAdapter(kind).validate_json(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ValidationError):
        raise UserError(f"{path}: is damaged; it has to be as this package wrote it") from None


def dump_provenance(provenance: Written) -> str:
    """The content of ``run.json``."""
    return json.dumps(dataclasses.asdict(provenance), indent=1) + "\n"


def written_now(before: Written | None, iteration: int) -> tuple[Versions, ...]:
    """The versions of a run that this process goes on with from `iteration` on."""
    then = () if before is None else before.versions
    earlier = tuple(
        own for own in then if own.from_iteration < iteration
    )  # later ones have written nothing that is left
    now = Versions(from_iteration=iteration, packages=installed_versions())
    return earlier if earlier and earlier[-1].packages == now.packages else (*earlier, now)


def installed_versions() -> dict[str, str]:
    """Of this package and of those that decide a run's numbers."""
    found = {"nigt_jax": nigt_jax.__version__}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def naming_the_writer(provenance: Written | None) -> Iterator[None]:
    """Has what cannot be read say by which versions it was written, where those are others than now."""
    try:
        yield
    except UserError as error:
        old = "written by an early version of nigt_jax, which kept no run.json"
        writer = old if provenance is None else provenance.other_versions()
        if not writer:
            raise
        raise UserError(f"{error}; the run was {writer}") from error.__cause__


def _writer(data: dict[str, Any]) -> str:
    """Who wrote ``run.json``, whatever its format is."""
    with contextlib.suppress(TypeError, LookupError, AttributeError):
        if others := _compared(data["versions"][-1]["packages"]):
            return others
    return "written with another version of nigt_jax"


def _compared(then: dict[str, str]) -> str:
    now = installed_versions()
    others = [f"{name} {then[name]} (here {now.get(name, 'none')})" for name in then if now.get(name) != then[name]]
    return f"written with {', '.join(others)}" if others else ""
