"""The command line: ``nigt``. Knows nothing of physics, and checks everything it can before JAX is loaded."""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from nigt_jax.cache import forget_damaged
from nigt_jax.cli._bench import add_bench
from nigt_jax.cli._completion import add_completion
from nigt_jax.cli._evaluate import add_evaluate
from nigt_jax.cli._export import add_export
from nigt_jax.cli._list import add_list
from nigt_jax.cli._parser import Parser, make_parser
from nigt_jax.cli._render import add_render
from nigt_jax.cli._report import add_report
from nigt_jax.cli._simulate import add_simulate
from nigt_jax.cli._streams import forgiving_streams, was_shown
from nigt_jax.cli._sweep import add_sweep
from nigt_jax.cli._train import add_train, kind_of
from nigt_jax.config import Config
from nigt_jax.errors import RunError, RunWarning, UserError, enough_memory

_LONGEST_LINE = 4000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Standard output may vanish at any time: a command whose results are files goes on all the same.

    Args:
      arguments: without the program's name; by default those of the process.

    Returns:
      The exit status: 0 done, 1 the run could not go on, or what was asked for could not be shown, 2 the input was
      wrong, 130 interrupted.
    """
    with forgiving_streams():
        try:
            with enough_memory():
                return _command(sys.argv[1:] if arguments is None else arguments)
        except UserError as error:
            return _say(error, 2)
        except RunError as error:
            return _say(error, 1)
        except MemoryError as error:
            return _say(error, 1, "too little memory")
        except KeyboardInterrupt as error:
            return _say(error, 130, "interrupted") if _notes(error) else 130


def _command(arguments: Sequence[str]) -> int:
    _refuse_undecoded(arguments)
    try:
        parsed = _whole_parser(kind_of(arguments)).parse(arguments)
    except SystemExit:  # argparse has shown help, or the version
        return 0 if was_shown() else 1
    with warnings.catch_warnings():
        warnings.showwarning = _show(warnings.showwarning)
        return parsed.run(parsed)


def _refuse_undecoded(arguments: Sequence[str]) -> None:
    """UserError where one was no text in UTF-8: it would fail where it is written or shown, if not before."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(f"command line: got {argument!a}, allowed: what is in UTF-8") from None


def _whole_parser(trains: Any = Config) -> Parser:
    """The parser with all commands, in the order in which they are shown.

    Args:
      trains: the kind of configuration that `nigt train` is given, which decides its options.
    """
    parser, commands = make_parser()
    add_train(commands, trains)
    add_sweep(commands)
    add_report(commands)
    add_render(commands)
    add_evaluate(commands)
    add_export(commands)
    add_simulate(commands)
    add_bench(commands)
    add_list(commands)
    add_completion(commands, _whole_parser)
    return parser


def _show(others: Callable[..., None]) -> Callable[..., None]:
    """Has our own warnings take one line, without the place in the code, and sees to what JAX's are about."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, RunWarning):
            print(f"nigt: warning: {_one_line(str(message))}", file=sys.stderr)
        elif not forget_damaged(str(message)):
            others(message, category, *where)

    return show


def _say(error: BaseException, status: int, what: str = "") -> int:
    """The error in one line, with what was noted about the state of a run."""
    text = "; ".join(filter(None, [what, *map(str, error.args), *_notes(error)]))
    print(f"nigt: {_one_line(text)}", file=sys.stderr)
    return status


def _one_line(text: str) -> str:
    """A message in a line that a terminal only shows: names in it may be somebody else's."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 2 :]}"


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])
