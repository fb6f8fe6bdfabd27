"""A configuration's settings as options, shared by all commands that take a CONFIG."""

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any

from nigt_jax.config import RUN_FILE, Config, SettingInfo, describe, nearest_key, sections
from nigt_jax.errors import UserError
from nigt_jax.records import code_of, refuse_strange_code


def add_settings(parser: argparse.ArgumentParser, kind: Any = Config) -> None:
    """Adds ``--section.key VALUE`` for every setting, which ``--help-settings`` explains, and ``--help`` does not.

    Args:
      parser: of a command.
      kind: of configuration that the command takes; its default is that of training.
    """
    group = parser.add_argument_group(
        "settings",
        "--seed VALUE, and --section.key VALUE of the sections\n" + textwrap.fill(", ".join(sections(kind)), 78),
    )
    group.add_argument(
        "--help-settings", action=_HelpSettings, const=kind, metavar="SECTION", help="explain them, or one section's"
    )
    for setting in describe(kind):
        _add_setting(group, setting).help = argparse.SUPPRESS
    parser.set_defaults(kind=kind)


def show_settings(parser: argparse.ArgumentParser) -> None:
    """Has a parser with settings explain them all among its options."""
    about = {f"--{setting.key}": setting.meaning for setting in describe()}
    for action in parser._actions:
        for option in action.option_strings:
            action.help = about.get(option, action.help)


class _HelpSettings(argparse.Action):
    """Shows what the settings are, and ends the command."""

    def __init__(self, **keywords: Any):
        super().__init__(nargs="?", default=argparse.SUPPRESS, **keywords)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, section: Any, option: str | None = None
    ) -> None:
        del namespace, option
        print(_explained(None if section is self.const else section, self.const), end="")
        parser.exit()


def _explained(section: str | None, kind: Any) -> str:
    """The settings of a section, or all of them, as help."""
    known = sections(kind)
    if section is not None and section not in known:
        near = nearest_key(section, known)
        hint = f" (did you mean {near}?)" if near else ""
        raise UserError(f"--help-settings: got {section!r}{hint}, allowed: {', '.join(known)}")
    shown = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    wanted = [setting for setting in describe(kind) if section in (None, setting.section)]
    groups = {"": shown.add_argument_group("settings of the whole run")} if section is None else {}
    groups |= {name: shown.add_argument_group(name, about) for name, about in known.items() if section in (None, name)}
    for setting in wanted:
        _add_setting(groups[setting.section], setting)
    return shown.format_help()


def _add_setting(group: Any, setting: SettingInfo) -> argparse.Action:
    unit = f" [{setting.unit}]" if setting.unit else ""
    owners = f" ({_whose(setting)})" if setting.owners else ""
    return group.add_argument(
        f"--{setting.key}",
        dest=f"settings:{setting.key}",
        metavar="VALUE",
        help=f"{setting.meaning}{unit}{owners}; {setting.allowed} (default: {setting.default})".replace("%", "%%"),
    )


def _whose(setting: SettingInfo) -> str:
    """The names of the section that have a setting, or those that do not where they are fewer."""
    few = len(setting.owners) <= len(setting.others)
    return ", ".join(setting.owners) if few else f"all but {', '.join(setting.others)}"


def add_folder(parser: argparse.ArgumentParser, named_after: str) -> None:
    """Adds ``--output`` and ``--name``, of the folder that a command makes."""
    parser.add_argument("--output", metavar="DIR", type=Path, help="folder of runs (default: runs)")
    parser.add_argument("--name", metavar="NAME", help=f"name of the new folder in it (default: {named_after})")


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Adds a run, and ``--iteration``, of which of its checkpoints the policy is."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--iteration", metavar="N", type=int, help="of this checkpoint (default: the newest)")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds ``--trust-code``."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="import what the folder names as module:Class, though nothing shows that you have begun it",
    )


def check_code(folder: Path, config: Config, arguments: argparse.Namespace) -> None:
    """Refuses code that a folder names and a stranger may have named; what options name is the user's own word.

    Args:
      folder: of the run.
      config: its configuration, with the options.
      arguments: those of the command.

    Raises:
      UserError: names the code, and how to have it imported.
    """
    words = {word for value in given_settings(arguments).values() for word in re.split(r"[\s,\[\]{}'\"]+", value)}
    refuse_strange_code(folder, set(code_of(config)) - words, arguments.trust_code)


def check_code_beside(source: Path, config: Config, arguments: argparse.Namespace) -> None:
    """The same of a configuration's file, where that is the one in a run's folder. Any other is the user's own word."""
    if (source.parent / RUN_FILE).is_file():
        check_code(source.parent, config, arguments)


def given_settings(arguments: argparse.Namespace) -> dict[str, str]:
    """The overrides that the user gave, from dotted keys to values as in YAML."""
    return {
        name.removeprefix("settings:"): value
        for name, value in vars(arguments).items()
        if name.startswith("settings:") and value is not None
    }


def refuse_with_resume(arguments: argparse.Namespace) -> None:
    """Refuses what belongs to a new run.

    Raises:
      UserError: names the option.
    """
    others = {"--output": arguments.output, "--name": arguments.name, "--dry-run": arguments.dry_run}
    given = [option for option, value in others.items() if value]
    if given:
        raise UserError(f"{given[0]}: not with --resume, which continues a run in its own folder")
