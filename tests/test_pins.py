"""The versions that are tested can be had wherever the package says that it runs."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_installs_on_the_oldest_python():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = f"{wanted.removeprefix('>=')}.0"  # as Debian's is nearly: 3.11.2
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_canonical(line.split("==")[0]) for line in pins if "==" in line}
    installed = [own for own in importlib.metadata.distributions() if _canonical(own.metadata["Name"]) in pinned]
    assert len(installed) > 50
    for own in installed:
        python = own.metadata.get("Requires-Python") or ""
        assert SpecifierSet(python).contains(oldest), f"{own.metadata['Name']} {own.version} wants Python {python}"
