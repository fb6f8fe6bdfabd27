"""The kinds of error that a user of the command line sees as a line instead of a traceback."""

import contextlib
from collections.abc import Iterator
from typing import Any

_LONGEST = 200  # letters


class UserError(Exception):
    """The input was wrong. The message is one line: what is wrong, what was given, what is allowed."""


class RunError(Exception):
    """The run cannot go on through no mistake of the input (a full disk, numbers that are not finite)."""


class RunWarning(UserWarning):
    """The run goes on, but not as its user may expect. The message is one line: what happens instead, what to do."""


def shown(given: Any) -> str:
    """What was given, as a message has it: however much it is."""
    text = "a mapping" if isinstance(given, dict) else repr(given)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Raises RunError where XLA has too little memory, and lets all other errors be what they are.

    Needs no JAX: XLA's error is known by its name. Its status is no help: on a CPU it may also be INTERNAL.
    """
    try:
        yield
    except RuntimeError as error:
        first = next(iter(str(error).splitlines()), "")
        told = "RESOURCE_EXHAUSTED" in first or "out of memory" in first.lower()
        if type(error).__name__ != "JaxRuntimeError" or not told:
            raise
        raise RunError("; ".join([f"too little memory: {first}", *getattr(error, "__notes__", [])])) from error
