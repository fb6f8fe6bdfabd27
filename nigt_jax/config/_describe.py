"""Every setting with its meaning, unit, default and allowed values, read off the schema itself."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, cast

from pydantic import TypeAdapter

from nigt_jax.config._config import Config, to_dict
from nigt_jax.config._tagged import TAGGED, Tagged


class SettingInfo(NamedTuple):
    """One leaf of the configuration.

    Attributes:
      key: its dotted key, ``method.learning_rate``.
      section: the section that it belongs to, empty for a setting of the whole run.
      meaning: one line.
      unit: empty where it has none.
      default: as written in YAML.
      allowed: kind of value and its limits, ``number > 0``.
      owners: names of the section that have it, such as methods; empty where all have it.
      others: names of the section that do not have it.
      traced: whether it is an argument of the compiled programs, so that runs that share one may differ in it.
    """

    key: str
    section: str
    meaning: str
    unit: str
    default: str
    allowed: str
    owners: tuple[str, ...]
    others: tuple[str, ...]
    traced: bool


@cache
def describe(kind: Any = Config) -> tuple[SettingInfo, ...]:
    """All settings, in the order of the configuration file; those of tagged sections once, with their owners.

    Args:
      kind: of what: of training, or the configuration of a related system.
    """
    found: list[SettingInfo] = []
    tagged = TAGGED if kind is Config else kind.tagged
    for field in dataclasses.fields(kind):
        default = getattr(kind(), field.name)
        if field.name in tagged:
            found.extend(_of_tagged(field.name, tagged[field.name]))
        elif dataclasses.is_dataclass(default):
            found.extend(_of_kind(field.name, default))
        else:
            found.append(_info(field.name, "", _schema(kind)["properties"][field.name], default))
    return tuple(found)


def traced_settings(config: Config) -> tuple[str, ...]:
    """Dotted keys of the settings in which runs may differ that share this configuration's programs."""
    own: list[SettingInfo] = [setting for setting in describe() if not setting.section]
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            own.extend(_of_kind(field.name, cast(Any, type(value))()))
    return tuple(setting.key for setting in own if setting.traced)


@cache
def sections(kind: Any = Config) -> dict[str, str]:
    """The sections and what each is about; of training, or of a related system."""
    about = lambda name, value: _about(name if kind is Config else "", value)
    values = {field.name: getattr(kind(), field.name) for field in dataclasses.fields(kind)}
    return {name: about(name, value) for name, value in values.items() if dataclasses.is_dataclass(value)}


@cache
def names(kind: Any = Config) -> frozenset[str]:
    """Every name of a field, at any depth; of training, or of a related system."""
    schemas = [_schema(kind)]
    if kind is Config:
        schemas += [_schema(own) for tagged in TAGGED.values() for own in tagged.kinds.values()]
    parts = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    return frozenset(name for part in parts for name in part.get("properties", ()))


def _about(name: str, default: Any) -> str:
    kind = type(default).__mro__[-2] if name in TAGGED else type(default)  # the base that all kinds share
    return (kind.__doc__ or "").splitlines()[0]


def _schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _of_tagged(section: str, tagged: Tagged) -> Iterator[SettingInfo]:
    """The settings of all kinds of a section: the shared ones first, each where it first stands."""
    every = [_of_kind(section, kind()) for kind in tagged.kinds.values()]
    known: dict[str, SettingInfo] = {}
    for setting in (setting for settings in every for setting in settings):
        known.setdefault(setting.key, setting)
    for key, setting in known.items():
        owners = tagged.owners(key.rsplit(".", 1)[-1])
        if key == f"{section}.{tagged.by}":
            setting = setting._replace(
                allowed=" | ".join(tagged.first or tagged.names), default=json.dumps(tagged.default)
            )
        others = tuple(tag for tag in tagged.kinds if tag not in owners)
        yield setting._replace(owners=owners if others else (), others=others)


def _of_kind(section: str, default: Any) -> tuple[SettingInfo, ...]:
    schema = _schema(type(default))
    return tuple(_below(section, schema, schema.get("$defs", {}), to_dict(default), f"{section}."))


def _below(
    section: str, schema: Mapping[str, Any], definitions: Any, defaults: Mapping[str, Any], prefix: str
) -> Iterator[SettingInfo]:
    for name, child in schema["properties"].items():
        key, default = prefix + name, defaults[name]
        if isinstance(default, dict):
            yield from _below(section, _follow(child, definitions), definitions, default, f"{key}.")
        else:
            yield _info(key, section, child, default)


def _info(key: str, section: str, schema: Mapping[str, Any], default: Any) -> SettingInfo:
    return SettingInfo(
        key=key,
        section=section,
        meaning=schema["description"],
        unit=schema["unit"],
        default=json.dumps(default),
        allowed=_allowed(schema),
        owners=(),
        others=(),
        traced=schema["traced"],
    )


def _follow(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    return definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _allowed(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return "mapping"
    if "anyOf" in schema:
        return " | ".join(_allowed(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of: {_allowed(schema['items'])}"
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    parts = [f"{sign} {schema[name]}" for name, sign in limits.items() if name in schema]
    return " ".join([schema.get("format", schema["type"]), *parts])
