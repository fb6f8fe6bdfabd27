"""A configuration's settings as options, shared by all commands that take a CONFIG."""

import argparse
from pathlib import Path

from nigt_jax.config import SettingInfo, describe, sections, tags


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds ``--section.key VALUE`` for every setting, in groups."""
    groups = {"": parser.add_argument_group("settings of the whole run")}
    groups |= {name: parser.add_argument_group(name, about) for name, about in sections().items()}
    for setting in describe():
        unit = f" [{setting.unit}]" if setting.unit else ""
        owners = f" ({_whose(setting)})" if setting.owners else ""
        groups[setting.section].add_argument(
            f"--{setting.key}",
            dest=f"settings:{setting.key}",
            metavar="VALUE",
            help=f"{setting.meaning}{unit}{owners}; {setting.allowed} (default: {setting.default})".replace("%", "%%"),
        )


def _whose(setting: SettingInfo) -> str:
    """The names of the section that have a setting, or those that do not where they are fewer."""
    others = [name for name in tags(setting.section) if name not in setting.owners]
    return ", ".join(setting.owners) if len(setting.owners) <= len(others) else f"all but {', '.join(others)}"


def add_folder(parser: argparse.ArgumentParser, named_after: str) -> None:
    """Adds ``--output`` and ``--name``, of the folder that a command makes."""
    parser.add_argument("--output", metavar="DIR", type=Path, help="folder of runs (default: runs)")
    parser.add_argument("--name", metavar="NAME", help=f"name of the new folder in it (default: {named_after})")


def given_settings(arguments: argparse.Namespace) -> dict[str, str]:
    """The overrides that the user gave, from dotted keys to values as in YAML."""
    return {
        name.removeprefix("settings:"): value
        for name, value in vars(arguments).items()
        if name.startswith("settings:") and value is not None
    }
