"""``nigt completion``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nigt_jax.cli._options import show_settings
from nigt_jax.cli._streams import was_shown

_DESCRIPTION = """\
Print a script that has the shell complete commands, options and settings."""

_EPILOG = """\
  nigt completion bash > ~/.local/share/bash-completion/completions/nigt
  nigt completion zsh > ~/.zfunc/_nigt          with ~/.zfunc in fpath, before compinit"""


def add_completion(commands: Any, whole: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds the command.

    Args:
      commands: where commands are added.
      whole: makes the parser whose options are completed.
    """
    parser = commands.add_parser(
        "completion",
        help="have bash or zsh complete commands and settings",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="bash or zsh", metavar="SHELL")
    parser.set_defaults(run=lambda arguments: _print(arguments.shell, whole()))


def _print(shell: str, parser: argparse.ArgumentParser) -> int:
    import shtab

    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        show_settings(command)
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0 if was_shown() else 1
