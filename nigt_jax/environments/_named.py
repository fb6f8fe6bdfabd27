"""From the name of an environment to the environment."""

from typing import Any, cast

from nigt_jax.config import BraxEnvironment, EnvironmentConfig, PlaygroundEnvironment
from nigt_jax.environments._brax import make_brax_environment
from nigt_jax.environments._gymnax import make_gymnax_environment
from nigt_jax.environments._playground import make_playground_environment
from nigt_jax.errors import UserError
from nigt_jax.imports import import_named, said


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


def _brax(section: EnvironmentConfig) -> Any:
    return make_brax_environment(section.name, cast(BraxEnvironment, section).backend)


def _custom(section: EnvironmentConfig) -> Any:
    make = import_named("environment.name", section.name)
    try:
        return make()
    except Exception as error:  # whatever the user's own code raises
        raise UserError(f"environment.name: {section.name}: cannot be made without arguments: {said(error)}") from error


def _gymnax(section: EnvironmentConfig) -> Any:
    return make_gymnax_environment(section.name)


def _playground(section: EnvironmentConfig) -> Any:
    return make_playground_environment(section.name, cast(PlaygroundEnvironment, section).implementation)


_SUITES = {"brax": _brax, "gymnax": _gymnax, "playground": _playground, "module:Class": _custom}
