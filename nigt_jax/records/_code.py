"""Code that a folder names, ``module:Class``: imported only where its user has said so, here or when it was begun.

A folder may come from anybody. So a run or a sweep that names code has marks beside its settings, which only its user
can make: a digest of every name with a key of the user's own. Needs no JAX.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from nigt_jax.config import Config, SystemConfig
from nigt_jax.errors import UserError
from nigt_jax.files import MOST_SETTINGS, read_bytes
from nigt_jax.records._whole import write_whole

MARKS = "code.hmac"
_BYTES = 32


def code_of(config: Config | SystemConfig, *, sinks: bool = True) -> tuple[str, ...]:
    """What a configuration has imported: its environment, randomiser and sinks, where these are the user's own.

    Args:
      config: the configuration.
      sinks: whether its sinks are made, as in training.
    """
    if isinstance(config, SystemConfig):  # imports nothing
        return ()
    named = [config.environment.name, config.workers.randomizer or "", *(config.logging.sinks if sinks else ())]
    return tuple(sorted({name for name in named if ":" in name and not name.startswith("playground:")}))


def mark_code(folder: Path, names: Iterable[str]) -> None:
    """Writes into a folder that this user has named this code; nothing where there is no code, or no place for a key.

    Raises:
      OSError: it cannot be written.
    """
    marks = _marks(names)
    if marks:
        write_whole(folder / MARKS, "".join(f"{mark}  {name}\n" for name, mark in marks.items()))


def refuse_strange_code(folder: Path, names: Iterable[str], trusted: bool) -> None:
    """Refuses a folder that names code, unless this user has begun it or says that it may be imported.

    Args:
      folder: of a run or a sweep.
      names: what would be imported.
      trusted: whether the user says so.

    Raises:
      UserError: names the code, and how to say so.
    """
    strange = set() if trusted else set(names)
    if not strange:
        return
    with contextlib.suppress(OSError):
        found = read_bytes(folder / MARKS, MOST_SETTINGS).split()
        strange -= {name for name, mark in _marks(strange).items() if _is_among(mark, found)}
    if strange:
        raise UserError(
            f"{folder}: names code, {', '.join(sorted(strange))}, and nothing shows that it was you who began it, so "
            "none is imported; allowed: --trust-code (in Python trust_code=True), once you know what that code does"
        )


def _is_among(mark: str, found: Iterable[bytes]) -> bool:
    return any(hmac.compare_digest(mark.encode(), other) for other in found)


def _marks(names: Iterable[str]) -> dict[str, str]:
    """The mark of each name; none where there is no key."""
    names = sorted(set(names))
    key = _key() if names else None
    return {} if key is None else {name: hmac.new(key, name.encode(), hashlib.sha256).hexdigest() for name in names}


def _key() -> bytes | None:
    """The user's key, made where there is none yet; None where there is no home, or it cannot be written."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no HOME, and a user that the system does not know
        path = Path(platformdirs.user_data_dir("nigt_jax", appauthor=False)) / "key"
        if not path.is_absolute():  # "~" is left where there is no home
            return None
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_BYTES))
        key = read_bytes(path, _BYTES)
        return key if len(key) == _BYTES else None
    return None
