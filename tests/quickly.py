"""Programs that are compiled in less time."""

import contextlib

import jax
import pytest


@contextlib.contextmanager
def without_optimisations():
    """LLVM's make no difference but for how products and sums are contracted, and take most of the time of compiling.

    What several tests share is kept. Processes that tests start do the same.
    """
    least, unoptimised = "jax_persistent_cache_min_compile_time_secs", "jax_disable_most_optimizations"
    before = {least: getattr(jax.config, least), unoptimised: jax.config.read(unoptimised)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(unoptimised.upper(), "1")
        try:
            for name, value in {least: 0.1, unoptimised: True}.items():
                jax.config.update(name, value)
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
