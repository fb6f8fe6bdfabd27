"""What the README shows has to work as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from nigt_jax.config import load_config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_optax_example():
    block = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
    assert len(block.strip().splitlines()) <= 12
    names = {}
    exec(block, names)
    np.testing.assert_allclose(names["model"]["w"], np.ones(3), atol=0.05)


def test_files_and_targets_that_it_names_exist():
    for path in re.findall(r"\]\(([\w/.]+)\)", TEXT):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|^)make ([a-z]+)", TEXT, re.MULTILINE):
        assert target in targets


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+\.yaml)`", TEXT, re.MULTILINE))
def test_configurations_that_it_lists(name):
    if name != "config.yaml":
        load_config(ROOT / "configs" / name)
