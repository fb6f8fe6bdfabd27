"""Compiling is nearly all that these tests take."""

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def _shapes_are_checked_elsewhere():
    """Tracing takes twice as long where they are checked."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
