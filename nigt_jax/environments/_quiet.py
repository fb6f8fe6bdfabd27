"""Other people's packages, imported without what they say on the way."""

import contextlib
import io
import warnings
from collections.abc import Iterator

from nigt_jax.errors import UserError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that others print or warn of at their import, or when they load models, reaches the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def imported(package: str, extra: str, what: str) -> Iterator[None]:
    """Imports of a suite that is not always there, quietly; UserError where they fail.

    Args:
      package: the suite's module.
      extra: of this package, that installs it.
      what: the setting, and what it asks for.
    """
    try:
        with quiet():
            yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        why = "which is not installed" if missing else f"which cannot be imported ({error})"
        raise UserError(f"{what} is of {package}, {why}: pip install 'nigt_jax[{extra}]'") from error
