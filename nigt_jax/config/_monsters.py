"""What YAML can say and no configuration means: values that hold themselves, a billion of them, keys that are lists."""

from typing import Any

from nigt_jax.errors import UserError

_DEEPEST = 50
_MOST_VALUES = 10_000_000  # with what aliases repeat: a few of each of a million workers
_MOST_BITS = 1000  # of a whole number: no float is larger


def refuse_monsters(value: Any, where: str) -> None:
    """Refuses what the rest of this package would choke on, however small the file is.

    Args:
      value: as YAML is read: nested mappings, lists, texts and numbers. An alias is the same object again.
      where: how the message begins.

    Raises:
      UserError: names the first of them.
    """
    number = _count(value, where, "", 0, {})
    if number > _MOST_VALUES:
        raise UserError(f"{where}: aliases make {number:,} values of it, allowed: up to {_MOST_VALUES:,}")


def _count(value: Any, where: str, key: str, depth: int, known: dict[int, int]) -> int:
    """The number of values in a value; each is looked at once, however often it is repeated.

    Args:
      value: the value.
      where: how a message begins.
      key: its dotted key.
      depth: how deep it is nested.
      known: numbers by identity of what was looked at, which stays alive.
    """
    if not isinstance(value, dict | list | tuple | set):
        _check_one(value, f"{where}: {key}" if key else where)
        return 1
    if depth > _DEEPEST:
        raise UserError(f"{where}: {key[:40]}...: is nested deeper than {_DEEPEST}, or holds itself")
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        for name in value:
            _check_key(name, f"{where}: {key}" if key else where)
        parts = [(f"{key}.{name}" if key else str(name), part) for name, part in value.items()]
    else:
        parts = [(key, part) for part in value]
    number = 1 + sum(_count(part, where, name, depth + 1, known) for name, part in parts)
    known[id(value)] = number
    return number


def _check_key(name: Any, where: str) -> None:
    if not isinstance(name, str | int | float | None):
        raise UserError(f"{where}: got a {type(name).__name__} as a key, allowed: names")
    _check_one(name, where)


def _check_one(value: Any, where: str) -> None:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UserError(f"{where}: got a number of {value.bit_length():,} bits, allowed: up to {_MOST_BITS:,}")
    if isinstance(value, str):
        strange = next((letter for letter in value if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
        if strange is not None:
            raise UserError(f"{where}: got the character {strange!r} in a text, allowed: all but NUL and surrogates")
