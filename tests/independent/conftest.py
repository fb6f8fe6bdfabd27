"""Compiling is nearly all that these tests take."""

import jax
import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def _shapes_are_checked_elsewhere():
    """Tracing takes twice as long where they are checked."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def compiled_quickly():
    """Without LLVM's optimisations, which make no difference but for how products and sums are contracted.

    For what does not depend on that: most of the time of compiling is theirs. What several tests share is kept.
    """
    least, unoptimised = "jax_persistent_cache_min_compile_time_secs", "jax_disable_most_optimizations"
    before = {least: getattr(jax.config, least), unoptimised: jax.config.read(unoptimised)}
    for name, value in {least: 0.1, unoptimised: True}.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
