"""What an environment holds, wherever Python keeps it: in a dictionary, in slots, or in a named tuple."""

import types
from collections.abc import Mapping
from typing import Any


def attributes(environment: Any) -> dict[str, Any]:
    """The instance's own attributes by name; those of its class are left out."""
    fields = environment._asdict() if _is_named_tuple(environment) else _slots(environment)
    return fields | getattr(environment, "__dict__", {})


def set_attributes(environment: Any, changes: Mapping[str, Any]) -> Any:
    """The environment with other values of some attributes: itself, though it be frozen, or another named tuple."""
    own, before = getattr(environment, "__dict__", {}), attributes(environment)
    elsewhere = {name: value for name, value in changes.items() if name not in own and value is not before.get(name)}
    own.update({name: value for name, value in changes.items() if name in own})
    if _is_named_tuple(environment) and elsewhere:
        environment = environment._replace(**elsewhere)
        getattr(environment, "__dict__", {}).update(own)  # a class made of a named tuple may have one as well
        return environment
    for name, value in elsewhere.items():
        object.__setattr__(environment, name, value)
    return environment


def _is_named_tuple(environment: Any) -> bool:
    return isinstance(environment, tuple) and hasattr(environment, "_asdict")


def _slots(environment: Any) -> dict[str, Any]:
    members = [vars(kind).items() for kind in type(environment).__mro__]
    slots = [name for kind in members for name, member in kind if isinstance(member, types.MemberDescriptorType)]
    return {name: getattr(environment, name) for name in slots if hasattr(environment, name)}
