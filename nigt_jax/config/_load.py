"""From a YAML file and overrides to a checked Config, or one line that says what is wrong."""

import copy
import io
import json
import os
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nigt_jax.config._config import Config, to_dict
from nigt_jax.config._mistakes import first_mistake, nearest_key
from nigt_jax.config._monsters import refuse_monsters
from nigt_jax.config._tagged import TAGGED, default_of, with_names
from nigt_jax.config._trace import read_trace
from nigt_jax.config._worker_files import with_files, with_paths
from nigt_jax.config.systems import SYSTEMS, SystemConfig
from nigt_jax.errors import RunWarning, UserError, shown
from nigt_jax.files import MOST_SETTINGS, read_json, read_text

RUN_FILE = "run.json"  # what makes a folder that of a run, beside config.yaml


def load_config(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    check_files: bool = True,
) -> Config:
    """Reads a configuration file and applies overrides.

    Args:
      path: a YAML 1.2 file; what it leaves out has its default, and where there is none, everything has.
        ``base: other.yaml`` at its top has it change the settings of another file, which stands relative to its own
        folder; of ``training.iterations`` and ``training.budget`` the one that is given replaces both. Files under
        ``workers`` are relative to the folder of the file that names them, and may begin with ``~``. A setting that
        only other methods, estimators or environments have is left out, with a warning.
      overrides: from dotted keys (``method.learning_rate``) to values: numbers, booleans, None, lists, arrays, or
        strings, which are read as YAML (``"0.05"`` is a number, ``"null"`` is None). A mapping changes the settings
        that it names: ``{"method": {"momentum": 0.8}}`` is ``{"method.momentum": 0.8}``. Files are relative to the
        current folder. Where any are given, be they empty, the file stands for a new run: a warning says so if the
        environment was an object in Python.
      check_files: whether the files that it names have to be readable.

    Returns:
      The checked configuration.

    Raises:
      UserError: the file cannot be read or is no YAML mapping; a key or a value is not allowed.
    """
    if path is None:
        return check_config({}, "configuration", overrides, check_files=check_files)
    path = Path(path)
    own, data = _read_with_base(path, ())
    _refuse_sweep(path, own)
    config = check_config(data, str(path), overrides, check_files=check_files)
    if not (path.parent / RUN_FILE).is_file():
        _warn_of_foreign(path, own, config)
    name = config.environment.name
    if overrides is not None and _was_given(path.parent) and (data.get("environment") or {}).get("name") == name:
        warnings.warn(
            f"{path}: the environment of this run was given in Python; here {name} is made anew, without arguments, "
            "and may not be the same one",
            RunWarning,
            stacklevel=2,
        )
    return config


def load_system(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None, *, check_files: bool = True
) -> SystemConfig:
    """Reads the configuration of a related system, which names it by the key ``system``; see :func:`load_config`."""
    own, data = _read_with_base(Path(path), ())
    _refuse_sweep(Path(path), own)
    return check_system(data, str(path), overrides, check_files=check_files)


def system_of(path: str | os.PathLike[str]) -> type[SystemConfig] | None:
    """The kind of configuration that a file is of, where that is one of a related system.

    Raises:
      UserError: the file cannot be read, or there is no such system.
    """
    return _system_in(read_settings(path), str(path))


def _refuse_sweep(path: Path, own: Mapping[str, Any]) -> None:
    if own.keys() & {"grid", "scenarios", "variants"}:
        raise UserError(f"{path}: is a sweep, allowed: a configuration; to run all of it: nigt sweep {path}")


def _system_in(data: Mapping[str, Any], source: str) -> type[SystemConfig] | None:
    name = data.get("system")
    if name is None:
        return None
    if str(name) not in SYSTEMS:
        near = nearest_key(str(name), SYSTEMS)
        hint = f" (did you mean {near}?)" if near else ""
        raise UserError(f"{source}: system: got {shown(name)}{hint}, allowed: {', '.join(SYSTEMS)}, or none")
    return SYSTEMS[name]


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings of a configuration file and of its bases, as yet unchecked.

    Raises:
      UserError: a file cannot be read or is no YAML mapping.
    """
    return _read_with_base(Path(path), ())[1]


def check_config(
    data: Mapping[str, Any],
    source: str = "configuration",
    overrides: Mapping[str, Any] | None = None,
    *,
    check_files: bool = True,
) -> Config:
    """Checks plain mappings, as read from YAML, and makes a Config of them.

    Args:
      data: the mappings.
      source: where they come from, for messages.
      overrides: see :func:`load_config`.
      check_files: see :func:`load_config`.

    Raises:
      UserError: names the first key that is wrong, what was given and what is allowed.
    """
    changed, given = _changed(data, source, overrides)
    if (system := _system_in(changed, source)) is not None:
        raise UserError(
            f"{source}: is of the related system {changed['system']} ({system.__name__}), allowed here: a "
            "configuration without the key system; nigt train runs it"
        )
    changed.pop("system", None)
    changed = _without_old_end(changed, given)
    try:
        changed, _ = with_names(changed, frozenset(given))
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    config: Config = _validated(Config, changed, source, check_files)
    return config


def check_system(
    data: Mapping[str, Any],
    source: str = "configuration",
    overrides: Mapping[str, Any] | None = None,
    *,
    check_files: bool = True,
) -> SystemConfig:
    """Checks plain mappings of a related system's configuration; see :func:`check_config`."""
    changed, given = _changed(data, source, overrides)
    kind = _system_in(changed, source)
    if kind is None:
        raise UserError(f"{source}: has no key system, allowed: {', '.join(SYSTEMS)}")
    try:
        changed, _ = with_names(changed, frozenset(given), kind.tagged)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    # A section that is given in part keeps the rest of the system's own defaults, which are not those of its class.
    defaults = to_dict(kind())
    for key, tagged in kind.tagged.items():
        section = changed[key] if isinstance(changed[key], dict) else {}
        if section.get(tagged.by) != defaults[key][tagged.by]:
            del defaults[key]
    config: SystemConfig = _validated(kind, _merged(defaults, changed), source, check_files)
    return config


def _changed(
    data: Mapping[str, Any], source: str, overrides: Mapping[str, Any] | None
) -> tuple[dict[str, Any], set[str]]:
    """The settings with their overrides and with what files of workers say; and the dotted keys of these."""
    if not isinstance(data, Mapping):
        raise UserError(f"{source}: got {shown(data)}, expected a mapping of sections")
    given: set[str] = set()
    changed = copy.deepcopy(dict(data))
    _override(changed, {} if overrides is None else overrides, given)
    return with_files(with_paths(changed, Path()), given), given


def _validated(kind: Any, changed: Mapping[str, Any], source: str, check_files: bool) -> Any:
    try:
        # JSON mode, strict: the kinds of value that YAML has, and no silent conversion between them.
        config = _adapter(kind).validate_json(json.dumps(changed, default=_plain), strict=True)
    except ValidationError as error:
        raise UserError(f"{source}: {first_mistake(error, kind)}") from None
    except (TypeError, ValueError) as error:  # a mapping with keys that are no strings
        raise UserError(f"{source}: {error}") from None
    if check_files and config.workers.trace is not None:
        read_trace(config.workers.trace, config.workers.count)  # only to see that it can be
    return config


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_config(config: Config | SystemConfig) -> str:
    """The complete configuration as YAML, which `load_config` reads back unchanged."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the dataclasses are in order of thought
    yaml.dump(to_dict(config), stream)
    return stream.getvalue()


def _read_with_base(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says, by itself and with what it changes of its base."""
    own = with_paths(read_yaml(path), path.parent)
    if path.resolve() in above:
        raise UserError(f"{path}: base: is its own base, allowed: a file that does not lead back to this one")
    base = own.pop("base", None)
    if base is None:
        return own, own
    if not isinstance(base, str):
        raise UserError(f"{path}: base: got {shown(base)}, allowed: the path of a YAML file, relative to this one")
    _, whole = _read_with_base(path.parent / base, (*above, path.resolve()))
    training = own.get("training")
    given = {f"training.{key}" for key in training} if isinstance(training, dict) else set()
    return own, _merged(_without_old_end(whole, given), own)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. UserError where there is none."""
    try:
        text = read_text(path, MOST_SETTINGS)
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a YAML file, or --resume to continue a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from None
    data = _parse(text, str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: got a {type(data).__name__}, expected a mapping of sections")
    return data


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with its changes; mappings are merged, anything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _without_old_end(data: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Without the older of two ways to say when a run ends: what is given anew replaces it, unless both are.

    Args:
      data: a file's settings.
      given: dotted keys of those that change them.
    """
    ends = {"training.iterations", "training.budget"}
    training = data.get("training")
    if len(given & ends) != 1 or not isinstance(training, dict):
        return data
    (old,) = ends - given
    return data | {"training": {key: value for key, value in training.items() if f"training.{key}" != old}}


def _warn_of_foreign(path: Path, own: dict[str, Any], config: Config) -> None:
    """Warns of what a file sets for nothing: settings that the method, say, that it has chosen does not have."""
    chosen = [key for key in TAGGED if isinstance(own.get(key), dict) and TAGGED[key].by in own[key]]
    _, foreign = with_names({key: own[key] for key in chosen}, frozenset())
    for key, value in foreign.items():
        section = key.split(".")[0]
        by = TAGGED[section].by
        name = own[section][by]
        if value != default_of(key) and name == getattr(getattr(config, section), by):
            owners = ", ".join(TAGGED[section].owners(key.split(".")[1]))
            warnings.warn(
                f"{path}: {key}: not a setting of {name}, so it is left out; it belongs to {owners}",
                RunWarning,
                stacklevel=3,
            )


def _was_given(folder: Path) -> bool:
    """Whether ``run.json`` says that an object was given as the environment; a damaged one is not judged here."""
    try:
        return bool(read_json(folder / RUN_FILE)["environment"]["given_as"] == "object")
    except (OSError, ValueError, TypeError, LookupError):
        return False


def _parse(text: str, where: str) -> Any:
    try:
        found = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a date of the 99th, ten thousand brackets
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{where}: not YAML{at}: {getattr(error, 'problem', None) or error}".split("\n")[0]) from None
    refuse_monsters(found, where)
    return found


def _override(data: dict[str, Any], overrides: Any, given: set[str], prefix: str = "") -> None:
    """Changes the settings that the overrides name, and no others of their sections; adds their keys to `given`."""
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise UserError(f"overrides: got {overrides!r}, allowed: a mapping from dotted keys to values")
    for name, wanted in overrides.items():
        key = prefix + name
        value = _parse(wanted, f"--{key}") if isinstance(wanted, str) else wanted
        *sections, last = key.split(".")
        if isinstance(value, Mapping):
            _section(data, [*sections, last])
            _override(data, value, given, f"{key}.")
        else:
            _section(data, sections)[last] = value
            given.add(key)


def _section(data: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The section at the end of the path; made where there is none."""
    for depth, name in enumerate(path, start=1):
        if data.get(name) is None:
            data[name] = {}
        if not isinstance(data[name], dict):
            raise UserError(f"{'.'.join(path[:depth])}: got {shown(data[name])}, expected a mapping")
        data = data[name]
    return data


def _plain(value: Any) -> Any:
    """What JSON has no word for: arrays and their numbers as lists and numbers, anything else as text."""
    tolist = getattr(value, "tolist", None)
    return str(value) if tolist is None else tolist()


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
