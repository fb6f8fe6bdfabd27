"""A sweep's file: a base configuration, variants of it, and a grid; and the runs that they make. Needs no JAX."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nigt_jax.config import Config, check_config, read_settings, read_yaml, sections
from nigt_jax.errors import UserError

_KEYS = ("base", "overrides", "scenarios", "variants", "grid")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Run(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: of its folder, unique in the sweep.
      scenario: the scenario that it is in; None of a sweep without scenarios.
      variant: the variant that it belongs to.
      point: its values of the keys of the grid.
      config: its configuration.
    """

    name: str
    scenario: str | None
    variant: str
    point: dict[str, Any]
    config: Config


class Sweep(NamedTuple):
    """A sweep.

    Attributes:
      settings: as in the file, with the settings of the base in the place of its name.
      runs: all of them: scenario by scenario, variant by variant, the last key of the grid changing first.
      keys: the keys of all grids, in their order.
    """

    settings: dict[str, Any]
    runs: tuple[Run, ...]
    keys: tuple[str, ...]


def load_sweep(path: Path) -> Sweep:
    """Reads a sweep and checks all of its runs.

    Args:
      path: a YAML file of ``base``, the path of a configuration relative to it, or the settings themselves;
        ``overrides``, for all runs; ``scenarios``, by name, such as workers of other speeds; ``variants``, by name,
        such as methods, each of which is run in every scenario; and ``grid``, lists of values by key, of which every
        combination is run with every variant. A variant may have a ``grid`` of its own besides.

    Raises:
      UserError: the file cannot be read, or some run is not one that may be; the line names it.
    """
    data = read_yaml(path)
    unknown = [key for key in data if key not in _KEYS]
    if unknown:
        hint = f"; a configuration is run by nigt train {path}" if unknown[0] in sections() else ""
        raise UserError(f"{path}: unknown key {unknown[0]}, allowed: {', '.join(_KEYS)}{hint}")
    base = data.get("base")
    if isinstance(base, str):
        base = read_settings(path.parent / base)
    if not isinstance(base, dict):
        raise UserError(f"{path}: base: got {base!r}, allowed: the path of a configuration, relative to this file")
    settings = {"base": base} | {key: _mapping(path, key, data.get(key)) for key in _KEYS[1:]}
    scenarios = settings["scenarios"] or {None: {}}
    variants = settings["variants"] or {path.stem: {}}
    runs = [
        run
        for scenario, variant in itertools.product(scenarios, variants)
        for run in _runs_of(path, settings, (scenario, scenarios[scenario]), (variant, variants[variant]))
    ]
    keys = dict.fromkeys(key for run in runs for key in run.point)
    return Sweep(settings, tuple(runs), tuple(keys))


def _runs_of(
    path: Path, settings: Mapping[str, Any], scenario: tuple[Any, Any], variant: tuple[Any, Any]
) -> Iterator[Run]:
    """The runs of a variant in a scenario; both by name and what they change."""
    circumstances = {} if scenario[0] is None else _named(path, "scenarios", *scenario)
    changes = _named(path, "variants", *variant)
    grid = settings["grid"] | _mapping(path, f"variants.{variant}.grid", changes.pop("grid", None))
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: grid.{key}: got {values!r}, allowed: a list of values")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UserError(f"{path}: grid.{key}: has a value twice, allowed: different ones")
    for name, others in ((variant[0], changes), (scenario[0], circumstances)):
        if both := [key for key in others if key in grid]:
            raise UserError(f"{path}: {both[0]}: is in the grid and in {name}, allowed: one of both")
    start = "-".join(name for name in (scenario[0], variant[0]) if name is not None)
    labels = _labels(list(grid))
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        name = "-".join([start, *(f"{labels[key]}={_short(grid[key], value)}" for key, value in point.items())])
        overrides = settings["overrides"] | circumstances | changes | point
        yield Run(name, scenario[0], variant[0], point, check_config(settings["base"], f"{path}: {name}", overrides))


def _named(path: Path, kind: str, name: Any, changes: Any) -> dict[str, Any]:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UserError(f"{path}: {kind}: got {name!r}, allowed: names of letters, digits, '_', '.', '+' and '-'")
    return dict(_mapping(path, f"{kind}.{name}", changes))


def _mapping(path: Path, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not (isinstance(value, dict) and all(isinstance(name, str) for name in value)):
        raise UserError(f"{path}: {key}: got {value!r}, allowed: a mapping")
    return value


def _labels(keys: list[str]) -> dict[str, str]:
    """Keys by their last part where that is enough to tell them apart."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def _short(values: list[Any], value: Any) -> str:
    """A value as a part of a file name; its number in the list where it has no such form."""
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    plain = not isinstance(value, list | dict) and re.fullmatch(r"[A-Za-z0-9_.+ -]{1,40}", text)
    return text.replace(" ", "_") if plain else f"{values.index(value) + 1}"
