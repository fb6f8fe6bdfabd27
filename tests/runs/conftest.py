"""A run that several files of tests compare theirs with."""

import pytest
from probes import EndsWhenGood
from short_runs import config

from nigt_jax.runs import train


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    return config(), folder, train(config(), folder, environment=EndsWhenGood())
