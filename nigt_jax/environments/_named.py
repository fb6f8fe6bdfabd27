"""From the name of an environment to the environment."""

import functools
import importlib
import os
from typing import Any, cast

from nigt_jax.config import BraxEnvironment, EnvironmentConfig
from nigt_jax.environments._brax import make_brax_environment
from nigt_jax.errors import UserError


def make_environment(section: EnvironmentConfig) -> Any:
    """The environment that a section of the configuration names, without wrappers.

    Args:
      section: the section. ``module:Class`` is a class, or a function, that is imported as Python finds it (the command
        line looks in the current folder, too) and called without arguments.

    Raises:
      UserError: there is no such class, or it cannot be called like that.
    """
    return _SUITES[section.suite](section)


def class_name(environment: Any) -> str:
    """The name under which :func:`make_environment` makes another one of the same class: ``module:Class``."""
    return f"{type(environment).__module__}:{type(environment).__qualname__}"


def _import_and_call(name: str) -> Any:
    module, _, path = name.partition(":")
    here = os.getcwd()
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the user's own code raises
        raise UserError(f"environment.name: {name}: {module} cannot be imported from {here}: {_said(error)}") from error
    try:
        make: Any = functools.reduce(getattr, path.split("."), found)
    except AttributeError:
        raise UserError(f"environment.name: {name}: the module {module} has no {path}") from None
    try:
        return make()
    except Exception as error:  # likewise
        raise UserError(f"environment.name: {name}: cannot be made without arguments: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _brax(section: EnvironmentConfig) -> Any:
    return make_brax_environment(section.name, cast(BraxEnvironment, section).backend)


def _custom(section: EnvironmentConfig) -> Any:
    return _import_and_call(section.name)


_SUITES = {"brax": _brax, "module:Class": _custom}
