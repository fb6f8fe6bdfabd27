"""The command line: ``nigt``. Knows nothing of physics, and checks everything it can before JAX is loaded."""

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from nigt_jax.cli._bench import add_bench
from nigt_jax.cli._parser import make_parser
from nigt_jax.cli._simulate import add_simulate
from nigt_jax.cli._train import add_train
from nigt_jax.errors import RunError, RunWarning, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: without the program's name; by default those of the process.

    Returns:
      The exit status: 0 done, 1 the run could not go on, 2 the input was wrong, 130 interrupted.
    """
    parser, commands = make_parser()
    add_train(commands)
    add_simulate(commands)
    add_bench(commands)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets a ? for a ±
    try:
        parsed = parser.parse(sys.argv[1:] if arguments is None else arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _show(warnings.showwarning)
            return parsed.run(parsed)
    except UserError as error:
        return _say(error, 2)
    except RunError as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        return 130


def _show(others: Callable[..., None]) -> Callable[..., None]:
    """Has our own warnings take one line, without the place in the code."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, RunWarning):
            print(f"nigt: warning: {message}", file=sys.stderr)
        else:
            others(message, category, *where)

    return show


def _say(error: Exception, status: int) -> int:
    print(f"nigt: {' '.join(str(error).split())}", file=sys.stderr)
    return status
