"""What a page calls the folders that it is about."""

import collections
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Named(NamedTuple):
    """A folder of a run or a sweep.

    Attributes:
      path: the folder as the user has named it, and as the page's commands name it.
      name: what texts and tables call it: its own name, after as many of the folders that it is in as tell it from all
        others on the page.
      stem: what its files, its section and a folder made after it are called: the name without a slash, and no other's.
    """

    path: Path
    name: str
    stem: str


def named(paths: Sequence[Path]) -> list[Named]:
    """Every folder once, in order, each with a name of its own."""
    once: dict[tuple[str, ...], Path] = {}
    for path in paths:
        once.setdefault(path.resolve().parts[1:], path)
    names = _unlike(_shortest([_parts(path) for path in once.values()]))
    stems = _unlike([name.replace("/", "-") for name in names])  # a/b and a folder a-b can be on one page
    return [Named(*one) for one in zip(once.values(), names, stems, strict=True)]


def _parts(path: Path) -> tuple[str, ...]:
    """The names on the way to a folder: a link keeps its own, and "." has that of the folder it stands for."""
    return (path.resolve() if ".." in path.parts else path.absolute()).parts[1:]


def _shortest(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """The last parts of every path: as few as no other path ends with."""
    taken = [1] * len(paths)
    while True:
        names = ["/".join(parts[-number:]) or "root" for parts, number in zip(paths, taken, strict=True)]
        counts = collections.Counter(names)
        longer = [
            number + (counts[name] > 1 and number < len(parts))
            for parts, number, name in zip(paths, taken, names, strict=True)
        ]
        if longer == taken:
            return names
        taken = longer


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, with a number after those that an earlier one has taken."""
    found: list[str] = []
    for name in names:
        tries = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        found.append(next(one for one in tries if one not in found))
    return found
