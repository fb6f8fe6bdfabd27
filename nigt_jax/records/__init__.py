"""What a run leaves behind, and what a person sees of it meanwhile."""

import importlib
from typing import TYPE_CHECKING, Any

from nigt_jax.records._display import Display, duration, make_display
from nigt_jax.records._folder import RunFolder, check_output, create_run, open_run, write_whole
from nigt_jax.records._metrics import MetricsLog, Record, read_metrics
from nigt_jax.records._provenance import (
    EnvironmentRecord,
    Provenance,
    Resources,
    installed_versions,
    naming_the_writer,
    written_now,
)

if TYPE_CHECKING:
    from nigt_jax.records._checkpoint import Checkpoints

__all__ = [
    "Checkpoints",
    "Display",
    "EnvironmentRecord",
    "MetricsLog",
    "Provenance",
    "Record",
    "Resources",
    "RunFolder",
    "check_output",
    "create_run",
    "duration",
    "installed_versions",
    "make_display",
    "naming_the_writer",
    "open_run",
    "read_metrics",
    "write_whole",
    "written_now",
]


def __getattr__(name: str) -> Any:
    if name == "Checkpoints":  # imports Orbax and JAX, which the command line does without for as long as it can
        return importlib.import_module("nigt_jax.records._checkpoint").Checkpoints
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
