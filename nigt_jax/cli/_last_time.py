"""What compiling took the last time on this machine, so that a person knows how long to wait."""

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from nigt_jax import __version__
from nigt_jax.cache import cache_folder
from nigt_jax.cli._display import duration
from nigt_jax.config import Config, SystemConfig, dotted, to_dict, traced_settings
from nigt_jax.records import write_whole

_MOST = 200  # entries that are kept
_OF_THE_HOST = (
    "evaluation.every",
    "checkpoint.",
    "logging.",
    "policy.start",
    "runtime.",
)  # nothing is compiled for them


class LastTime:
    """Seconds that a configuration's programs took to be ready the last time.

    Programs that were compiled here before are found again, so what counts is the last time that they were; where they
    never were, the last time that others of the same environment were compiled.

    Args:
      config: the configuration. For one of a related system nothing is kept: its programs are small.
    """

    def __init__(self, config: Config | SystemConfig):
        keeps = isinstance(config, Config) and config.training.compilation_cache
        folder = cache_folder() if keeps else None
        self._file = None if folder is None else folder / "compile_seconds.json"
        self._names = (_exact(config), _alike(config)) if isinstance(config, Config) else ("", "")

    def in_words(self) -> str:
        """A clause on how long it may take; empty where nothing is kept."""
        if self._file is None:
            return ""
        exact, alike = self._names
        known = _read(self._file)
        if exact in known:
            took = f"took {duration(known[exact])} the last time" if known[exact] else "takes some seconds"
            return f"these programs are kept, which {took}"
        if alike in known:
            return f"others of this environment took {duration(known[alike])} the last time"
        return "on a CPU mostly half a minute to two, the first time"

    def note(self, seconds: float) -> None:
        """Keeps what it took this time."""
        if self._file is None:
            return
        exact, alike = self._names
        known = _read(self._file)
        new = {exact: seconds} if exact in known else {exact: 0.0, alike: seconds}
        kept = {name: value for name, value in known.items() if name not in new} | new
        with contextlib.suppress(OSError):  # the next start knows less
            write_whole(self._file, json.dumps(dict(list(kept.items())[-_MOST:]), indent=1) + "\n")


def _alike(config: Config) -> str:
    """The environment, and the machine's part that it is compiled for."""
    where = f"{config.training.platform}, {os.cpu_count()} cores"
    return f"{to_dict(config)['environment']} on {where}, nigt_jax {__version__}"


def _exact(config: Config) -> str:
    """All that programs depend on, but for other versions of JAX; a digest."""
    free, every = {*traced_settings(config)}, dotted(to_dict(config))
    settings = [(key, every[key]) for key in sorted(every) if key not in free and not key.startswith(_OF_THE_HOST)]
    return hashlib.sha256(f"{settings} {_alike(config)}".encode()).hexdigest()[:32]


def _read(file: Path) -> dict[str, float]:
    """What is there; a file or an entry that cannot be read is as if absent."""
    kept: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        kept = json.loads(file.read_text(encoding="utf-8"))
    entries = kept.items() if isinstance(kept, dict) else ()
    return {name: float(value) for name, value in entries if _is_seconds(value)}


def _is_seconds(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < math.inf
