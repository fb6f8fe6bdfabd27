"""Other people's code: what users name as ``module:Class``, and packages that are not always there."""

import contextlib
import functools
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that others print, log or warn of at their import, or when they load models, reaches the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def imported(package: str, extra: str, what: str) -> Iterator[None]:
    """Imports of a package that is not always there, quietly; UserError where they fail.

    Args:
      package: its module.
      extra: of this package, that installs it.
      what: the setting, and what it asks for.
    """
    try:
        with quiet():
            yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        why = "is not installed" if missing else f"cannot be imported ({error})"
        raise UserError(f"{what}: {package} {why}, allowed: pip install 'nigt_jax[{extra}]'") from error
