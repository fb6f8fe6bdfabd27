"""What tests of related systems share."""

import jax
import pytest


@pytest.fixture
def in_64_bits():
    """As systems with exact values compute."""
    with jax.enable_x64(True):
        yield
