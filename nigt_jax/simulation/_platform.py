"""Where clocks run."""

import os
from pathlib import Path

import jax


def use_cpu(keep_programs: bool) -> None:
    """Has JAX run on the CPU, whatever else there is: clocks are small. Has to come before JAX looks for devices.

    Args:
      keep_programs: keep what is compiled in the user's cache folder, where training keeps it, for the next start.
    """
    jax.config.update("jax_platforms", "cpu")
    if keep_programs and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "nigt_jax" / "xla"))
