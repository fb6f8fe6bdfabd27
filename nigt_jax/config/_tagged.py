"""Sections that are tagged by a name: the name decides which settings there are."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from nigt_jax.config._environments import BRAX, ENVIRONMENTS, FOR_TESTS, SUITES, EnvironmentConfig, suite_of
from nigt_jax.config._estimators import ESTIMATORS, EstimatorConfig
from nigt_jax.config._method_kinds import MethodConfig
from nigt_jax.config._methods import METHODS
from nigt_jax.config._runtimes import RUNTIMES, RuntimeConfig
from nigt_jax.errors import UserError, shown


class Tagged(NamedTuple):
    """A tagged section.

    Attributes:
      kinds: its classes by tag.
      default: the name of a section that does not say.
      tag: maps a name to the tag that it stands for.
      names: all names, as they are shown to users.
      by: the setting that has the name.
      unlisted: names that are allowed and not shown.
      first: names that a message tells of, where all are too many.
    """

    kinds: Mapping[str, type[Any]]
    default: str
    tag: Callable[[str], str]
    names: tuple[str, ...]
    by: str = "name"
    unlisted: tuple[str, ...] = ()
    first: tuple[str, ...] = ()

    def owners(self, setting: str) -> tuple[str, ...]:
        """Tags of the kinds that have a setting."""
        return tuple(tag for tag, kind in self.kinds.items() if setting in fields_of(kind))


TAGGED: dict[str, Tagged] = {
    "environment": Tagged(
        SUITES, "hopper", suite_of, (*ENVIRONMENTS, "module:Class"), unlisted=FOR_TESTS, first=(*BRAX, "module:Class")
    ),
    "estimator": Tagged(ESTIMATORS, "leave_one_out", str, tuple(ESTIMATORS)),
    "method": Tagged(METHODS, "rennala_nigt", str, tuple(METHODS)),
    "runtime": Tagged(RUNTIMES, "simulated", str, tuple(RUNTIMES), by="kind"),
}

_Section = TypeVar("_Section", EnvironmentConfig, EstimatorConfig, MethodConfig, RuntimeConfig)


def fields_of(kind: type[Any]) -> dict[str, Any]:
    """The settings of a section by name."""
    return {field.name: field for field in dataclasses.fields(kind)}


def converted(section: _Section, name: str) -> _Section:
    """The section of another method, runtime and so on: what both have is carried over, the rest is default.

    Args:
      section: a section.
      name: the name of the other one.
    """
    (tagged,) = (t for t in TAGGED.values() if isinstance(section, tuple(t.kinds.values())))
    kind = tagged.kinds[tagged.tag(name)]
    shared = {key: getattr(section, key) for key in fields_of(type(section)) if key in fields_of(kind)}
    return kind(**(shared | {tagged.by: name}))


def with_names(
    data: dict[str, Any], given: frozenset[str], sections: Mapping[str, Tagged] = TAGGED
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Names every tagged section, and takes away the settings that only others of its kind have.

    Args:
      data: nested mappings of the configuration.
      given: dotted keys that the user has given beside the file; those are not taken away.
      sections: the tagged ones; by default those of training.

    Returns:
      The same with names and without foreign settings, and what was taken away, by dotted key.

    Raises:
      UserError: there is no such name, or a setting that was given beside the file is of another kind.
    """
    named: dict[str, Any] = dict(data)
    foreign: dict[str, Any] = {}
    for key, tagged in sections.items():
        section = data.get(key)
        section = {} if section is None else section
        if not isinstance(section, dict):
            continue  # the schema says what is wrong with that
        name = section.get(tagged.by, tagged.default)
        _refuse_unknown(f"{key}.{tagged.by}", name, tagged)
        kind = tagged.kinds[tagged.tag(name)]
        others = {k: v for k, v in section.items() if k not in fields_of(kind) and tagged.owners(k)}
        for setting in others:
            if f"{key}.{setting}" in given:
                raise UserError(
                    f"{key}.{setting}: not a setting of {name}, allowed with: {', '.join(tagged.owners(setting))}"
                )
        foreign |= {f"{key}.{setting}": value for setting, value in others.items()}
        named[key] = {tagged.by: name} | {k: v for k, v in section.items() if k not in others}
    return named, foreign


def default_of(key: str) -> Any:
    """The default of a setting of some kind of a tagged section, by dotted key."""
    section, _, name = key.partition(".")
    tagged = TAGGED[section]
    kind = tagged.kinds[tagged.owners(name)[0]]
    return getattr(kind(), name)


def _refuse_unknown(key: str, name: Any, tagged: Tagged) -> None:
    there = (*tagged.names, *tagged.unlisted)
    if isinstance(name, str) and tagged.tag(name) in tagged.kinds and (":" in name or name in there):
        return
    similar = difflib.get_close_matches(name, tagged.names, n=1) if isinstance(name, str) else []
    hint = f" (did you mean {similar[0]}?)" if similar else ""
    *most, last = map(repr, tagged.first or tagged.names)
    got, more = shown(name), ""
    if tagged.first:
        more = f", or another one of nigt list {key}s"
    raise UserError(f"{key}: got {got}{hint}, allowed: {', '.join(most)} or {last}{more}")
