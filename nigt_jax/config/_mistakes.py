"""From what pydantic says of a configuration to one line that names the key, what was given and what is allowed."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from nigt_jax.config._config import Config
from nigt_jax.config._describe import describe, names, sections
from nigt_jax.errors import shown

_RECORDED = "a file of recorded times is workers.trace"
_BELONGS = {  # where what people write for another kind of value has its place
    "workers.compute_time": "a list of times is workers.compute_time.values, one of gradients a time unit "
    f"workers.compute_time.speeds; {_RECORDED}",
    "workers.compute_time.values": _RECORDED,
    "workers.compute_time.speeds": _RECORDED,
    "workers.communication_time": "a list of times is workers.communication_time.values",
    "workers.trace": "a list of times is workers.compute_time.values",
    "workers.speed": "a list of gradients a time unit is workers.compute_time.speeds",
}


def nearest_key(key: str, among: Iterable[str] | None = None, kind: Any = Config) -> str | None:
    """The setting of a kind of configuration that `key` was probably meant to be, if any; or that of `among`."""
    keys = [setting.key for setting in describe(kind)] if among is None else list(among)
    same_name = [k for k in keys if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]  # right name, wrong section
    near = difflib.get_close_matches(key, same_name or keys, n=1, cutoff=0.0 if same_name else 0.6)
    return next(iter(near), None)


def first_mistake(error: ValidationError, kind: Any) -> str:
    """One line for the first mistake; an unknown key comes first, as it is usually the cause of the rest."""
    mistakes = sorted(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
    first = mistakes[0]
    key = _key(first, kind)
    if first["type"] == "unexpected_keyword_argument":
        near = None if "." in key else nearest_key(key, sections(kind))
        near = near or nearest_key(key, kind=kind)
        return (
            f"unknown key {key}; {f'did you mean {near}?' if near else 'see nigt train --help-settings for the list'}"
        )
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if message.startswith("got ") else message  # the others name keys themselves
    # Every branch of a union complains: all of them together are what is allowed.
    allowed = " or ".join(_allowed(m) for m in mistakes if _key(m, kind) == key)
    given = first["input"]
    options = re.findall("'([^']*)'", allowed)
    similar = difflib.get_close_matches(given, options, n=1) if isinstance(given, str) else []
    hint = f" (did you mean {similar[0]}?)" if similar else ""
    if allowed == "a list" and isinstance(given, int | float):
        allowed = f"a list, such as [{given}]"
    belongs = f"; {_BELONGS[key]}" if key in _BELONGS else ""
    return f"{key}: got {shown(given)}{hint}, allowed: {allowed}{belongs}"


def _key(mistake: Any, kind: Any) -> str:
    """The dotted key of a mistake; names of a union's branches, which pydantic adds, are no part of it."""
    kept, unknown = [], mistake["type"] == "unexpected_keyword_argument"
    for i, part in enumerate(mistake["loc"]):
        if isinstance(part, int) or part in names(kind) or (unknown and i == len(mistake["loc"]) - 1):
            kept.append(str(part))
    return ".".join(kept)


def _allowed(mistake: Any) -> str:
    if mistake["type"] == "too_short":
        return f"at least {mistake['ctx']['min_length']} of them"
    message = mistake["msg"].removeprefix("Input should be ")
    return {"an object": "a mapping", "a valid array": "a list", "a valid string": "a string"}.get(message, message)
