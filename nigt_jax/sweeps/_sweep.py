"""A sweep's file: a base configuration, variants of it, and a grid; and the runs that they make. Needs no JAX."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nigt_jax.config import FILES, Config, at_home, check_config, read_settings, read_yaml, sections
from nigt_jax.errors import UserError, shown
from nigt_jax.records import code_of

_KEYS = ("base", "overrides", "scenarios", "variants", "grid", "tune")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Run(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: of its folder, unique in the sweep.
      scenario: the scenario that it is in; None of a sweep without scenarios.
      variant: the variant that it belongs to.
      case: the name that runs share which differ in the seed and in what is tuned alone.
      point: its values of the keys of the grid, and of what is tuned.
      tuning: whether it is there to choose what is tuned, and nothing else.
      config: its configuration.
    """

    name: str
    scenario: str | None
    variant: str
    case: str
    point: dict[str, Any]
    tuning: bool
    config: Config


class Sweep(NamedTuple):
    """A sweep.

    Attributes:
      settings: as in the file, with the settings of the base in the place of its name.
      runs: scenario by scenario, variant by variant, the last key of the grid changing first; those of tuning, where
        something is tuned, since the others are known only after it.
      keys: the keys of all grids and of what is tuned, in their order.
      tuned: keys whose values are chosen.
      reported: number of runs that come after tuning; 0 where nothing is tuned.
    """

    settings: dict[str, Any]
    runs: tuple[Run, ...]
    keys: tuple[str, ...]
    tuned: tuple[str, ...]
    reported: int

    @property
    def code(self) -> tuple[str, ...]:
        """Code of the user's own that its runs have imported."""
        return tuple(sorted({name for run in self.runs for name in code_of(run.config)}))


Chosen = Mapping[str, dict[str, Any]]
"""Values of what is tuned, for every case."""


def load_sweep(path: Path) -> Sweep:
    """Reads a sweep and checks all of its runs.

    Args:
      path: a YAML file of ``base``, the path of a configuration relative to it, or the settings themselves, or the
        path of another sweep, whose entries this one adds to, replaces, or with null takes away;
        ``overrides``, for all runs; ``scenarios``, by name, such as workers of other speeds; ``variants``, by name,
        such as methods, each of which is run in every scenario; ``grid``, lists of values by key, of which every
        combination is run with every variant; and ``tune``, lists of values by key, one of which is chosen for every
        case, on seeds of its own. A variant may have a ``grid`` of its own besides, and a ``tune`` with as many other
        values.

    Raises:
      UserError: the file cannot be read, or some run is not one that may be; the line names it.
    """
    settings = _settings(path)
    settings["variants"] = settings["variants"] or {path.stem: {}}
    tuned = tuple(key for key in settings["tune"] if key != "seed")
    _check_tuning(path, settings)
    # Of what will be chosen, the first value stands for all: so the reported runs are checked as well.
    reported = tuple(_runs(path, settings, lambda case: {key: settings["tune"][key][0] for key in tuned}))
    for variant in settings["variants"]:
        _tried(path, settings, variant)
    runs = tuple(_tuning_runs(path, settings)) if tuned else reported
    keys = dict.fromkeys(key for run in reported for key in run.point)
    return Sweep(settings, runs, tuple(keys), tuned, len(reported) if tuned else 0)


def _settings(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file says, with the settings of its base in the place of its name."""
    data = read_yaml(path)
    if path.resolve() in above:
        raise UserError(f"{path}: base: is a base of itself, allowed: a configuration or another sweep")
    unknown = [key for key in data if key not in _KEYS]
    if unknown:
        hint = f"; a configuration is run by nigt train {path}" if unknown[0] in sections() else ""
        raise UserError(f"{path}: unknown key {unknown[0]}, allowed: {', '.join(_KEYS)}{hint}")
    base = data.get("base")
    own = {key: _with_paths(_mapping(path, key, data.get(key)), path.parent) for key in _KEYS[1:]}
    if isinstance(base, str) and set(read_yaml(path.parent / base)) & set(_KEYS[1:]):
        before = _settings(path.parent / base, (*above, path.resolve()))
        return {"base": before["base"]} | {key: _replaced(before[key], own[key]) for key in _KEYS[1:]}
    if isinstance(base, str):
        base = read_settings((path.parent / base).resolve())  # its files are found from everywhere
    if not isinstance(base, dict):
        raise UserError(f"{path}: base: got {shown(base)}, allowed: the path of a configuration, relative to this file")
    return {"base": base} | own


def _with_paths(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings whose files, which stand relative to a folder, have paths that are valid everywhere."""
    whole = lambda path: str((folder / at_home(path)).resolve()) if isinstance(path, str) else path
    found = {}
    for key, value in settings.items():
        if key in FILES:
            found[key] = [whole(path) for path in value] if isinstance(value, list) else whole(value)
        else:
            found[key] = _with_paths(value, folder) if isinstance(value, dict) else value
    return found


def _replaced(before: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The entries of another sweep, with those of this one in their place; null takes one away."""
    return {key: value for key, value in (before | own).items() if not (key in before and value is None)}


def reported_runs(sweep: Sweep, chosen: Chosen) -> tuple[Run, ...]:
    """The runs that come after tuning, with what was chosen."""
    return tuple(_runs(Path("sweep.yaml"), sweep.settings, chosen.__getitem__))


def _check_tuning(path: Path, settings: Mapping[str, Any]) -> None:
    tune, grid = settings["tune"], settings["grid"]
    if not tune:
        return
    _check_lists(path, "tune", tune)
    for name, values in (("tune", tune), ("grid", grid)):
        if "seed" not in values:
            raise UserError(f"{path}: {name}: has no seed, allowed: seeds for tuning, and others in the grid")
    if len(tune) < 2:
        raise UserError(f"{path}: tune: has nothing but seeds, allowed: a key with values to choose from, too")
    if both := sorted(set(tune["seed"]) & set(grid["seed"])):
        raise UserError(f"{path}: tune.seed: {both[0]} is in grid.seed too, allowed: seeds that nothing is chosen by")


def _tried(path: Path, settings: Mapping[str, Any], variant: str) -> dict[str, list[Any]]:
    """The values to choose from of a variant: its own, as many as all have, or those of all."""
    tried = {key: values for key, values in settings["tune"].items() if key != "seed"}
    own = _mapping(path, f"variants.{variant}.tune", (settings["variants"][variant] or {}).get("tune"))
    _check_lists(path, f"variants.{variant}.tune", own)
    for key, values in own.items():
        if key not in tried or len(values) != len(tried[key]):
            allowed = f"{len(tried[key])} values, as all have" if key in tried else ", ".join(tried) or "no tuning"
            raise UserError(f"{path}: variants.{variant}.tune.{key}: got {shown(values)}, allowed: {allowed}")
    return tried | own


def _tuning_runs(path: Path, settings: dict[str, Any]) -> Iterator[Run]:
    """Every case with every combination of what is tuned."""
    seeds = settings | {"grid": settings["grid"] | {"seed": settings["tune"]["seed"]}}
    for scenario, variant in _pairs(settings):
        values = _tried(path, settings, variant)
        names = _labels(list(values))
        for combination in itertools.product(*values.values()):
            point = dict(zip(values, combination, strict=True))
            label = "-".join(f"{names[key]}={_short(values[key], value)}" for key, value in point.items())
            for run in _runs_of(path, seeds, scenario, variant, lambda case, point=point: point):  # type: ignore[misc]
                yield run._replace(name=f"{run.name}-{label}", tuning=True)


def _pairs(settings: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """The names of scenarios and variants that go together."""
    return itertools.product(settings["scenarios"] or (None,), settings["variants"])


def _runs(path: Path, settings: Mapping[str, Any], chosen: Callable[[str], dict[str, Any]]) -> Iterator[Run]:
    for scenario, variant in _pairs(settings):
        yield from _runs_of(path, settings, scenario, variant, chosen)


def _runs_of(
    path: Path,
    settings: Mapping[str, Any],
    scenario: str | None,
    variant: str,
    chosen: Callable[[str], dict[str, Any]],
) -> Iterator[Run]:
    """The runs of a variant in a scenario, both by name and what they change; what is tuned is as chosen for a case."""
    circumstances = {} if scenario is None else _named(path, "scenarios", scenario, settings["scenarios"][scenario])
    changes = _named(path, "variants", variant, settings["variants"][variant])
    changes.pop("tune", None)
    grid = settings["grid"] | _mapping(path, f"variants.{variant}.grid", changes.pop("grid", None))
    _check_lists(path, "grid", grid)
    tuned = [key for key in settings["tune"] if key != "seed"]
    one_of_both = [("tune", tuned), ("the grid", grid), (scenario, circumstances), (variant, changes)]
    for (one, first), (other, second) in list(itertools.combinations(one_of_both, 2))[:-1]:
        if both := [key for key in first if key in second]:
            raise UserError(f"{path}: {both[0]}: is in {one} and in {other}, allowed: one of both")
    start = "-".join(name for name in (scenario, variant) if name is not None)
    labels = _labels(list(grid))
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        parts = {key: f"{labels[key]}={_short(grid[key], value)}" for key, value in point.items()}
        case = "-".join([start, *(part for key, part in parts.items() if key != "seed")])
        point |= chosen(case)
        overrides = settings["overrides"] | circumstances | changes | point
        name = "-".join([start, *parts.values()])
        config = check_config(settings["base"], f"{path}: {name}", overrides)
        if config.logging.sinks:
            raise UserError(f"{path}: {name}: logging.sinks: a sweep has results.parquet instead, allowed: []")
        yield Run(name, scenario, variant, case, point, False, config)


def _check_lists(path: Path, name: str, grid: Mapping[str, Any]) -> None:
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: {name}.{key}: got {shown(values)}, allowed: a list of values")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UserError(f"{path}: {name}.{key}: has a value twice, allowed: different ones")


def _named(path: Path, kind: str, name: Any, changes: Any) -> dict[str, Any]:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UserError(f"{path}: {kind}: got {shown(name)}, allowed: names of letters, digits, '_', '.', '+' and '-'")
    return dict(_mapping(path, f"{kind}.{name}", changes))


def _mapping(path: Path, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not (isinstance(value, dict) and all(isinstance(name, str) for name in value)):
        raise UserError(f"{path}: {key}: got {shown(value)}, allowed: a mapping")
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
