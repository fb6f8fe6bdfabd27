"""A run that several files of tests compare theirs with."""

import pytest
from probes import EndsWhenGood
from quickly import without_optimisations
from short_runs import config

from nigt_jax.runs import train


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    with without_optimisations():  # as all runs that are compared with it
        return config(), folder, train(config(), folder, environment=EndsWhenGood())
