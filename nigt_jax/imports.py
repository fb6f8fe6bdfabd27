"""Objects that users name as ``module:Class`` or ``module:function``."""

import functools
import importlib
import os
from typing import Any

from nigt_jax.errors import UserError


def import_named(key: str, name: str) -> Any:
    """What a setting names, imported as Python finds it; the command line looks in the current folder, too.

    Args:
      key: the setting.
      name: ``module:Class``.

    Raises:
      UserError: the module cannot be imported, or has nothing of this name.
    """
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the user's own code raises
        raise UserError(f"{key}: {name}: {module} cannot be imported from {os.getcwd()}: {said(error)}") from error
    try:
        return functools.reduce(getattr, path.split("."), found)
    except AttributeError:
        raise UserError(f"{key}: {name}: the module {module} has no {path}") from None


def said(error: Exception) -> str:
    """An error of the user's own code in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
