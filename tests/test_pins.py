"""The versions that are tested can be had wherever the package says that it runs."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_installs_on_the_oldest_python():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = f"{wanted.removeprefix('>=')}.0"  # as Debian's is nearly: 3.11.2
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {_canonical(name): version for name, version in pins.items()}
    ours = [own for own in importlib.metadata.distributions() if _canonical(own.metadata["Name"]) in pins]
    assert len(ours) > 50
    installed = [own for own in ours if own.version == pins[_canonical(own.metadata["Name"])]]
    if len(installed) < len(ours):
        pytest.skip("other versions than the pinned ones are installed")
    for own in installed:
        python = own.metadata.get("Requires-Python") or ""
        assert SpecifierSet(python).contains(oldest), f"{own.metadata['Name']} {own.version} wants Python {python}"
