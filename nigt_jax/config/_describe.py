"""Every setting with its meaning, unit, default and allowed values, read off the schema itself."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from nigt_jax.config._schema import Config, to_dict


class Setting(NamedTuple):
    """One leaf of the configuration.

    Attributes:
      key: dotted, ``method.learning_rate``.
      section: the one that it belongs to, empty for a setting of the whole run.
      meaning: one line.
      unit: empty where it has none.
      default: as written in YAML.
      allowed: kind of value and its limits, ``number > 0``.
    """

    key: str
    section: str
    meaning: str
    unit: str
    default: str
    allowed: str


@cache
def describe() -> tuple[Setting, ...]:
    """All settings, in the order of the configuration file."""
    schema = TypeAdapter(Config).json_schema()
    return tuple(_below(schema, schema["$defs"], to_dict(Config()), ""))


@cache
def sections() -> dict[str, str]:
    """The sections and what each is about."""
    schema = TypeAdapter(Config).json_schema()
    return {
        name: _follow(child, schema["$defs"])["description"].splitlines()[0]
        for name, child in schema["properties"].items()
        if "$ref" in child
    }


@cache
def names() -> frozenset[str]:
    """Every name of a field, at any depth."""
    schema = TypeAdapter(Config).json_schema()
    return frozenset(name for part in [schema, *schema["$defs"].values()] for name in part["properties"])


def _below(schema: Mapping[str, Any], definitions: Any, defaults: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    for name, child in schema["properties"].items():
        key, default = prefix + name, defaults[name]
        if isinstance(default, dict):
            yield from _below(_follow(child, definitions), definitions, default, f"{key}.")
        else:
            yield Setting(
                key=key,
                section=key.split(".")[0] if "." in key else "",
                meaning=child["description"],
                unit=child["unit"],
                default=json.dumps(default),
                allowed=_allowed(child),
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
