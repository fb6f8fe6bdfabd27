"""What the site has that is made of the code: settings, commands, pictures; and formulas without a network."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_site"))

from pictures import architecture, timeline  # noqa: E402  # beside this file

_ELSEWHERE = {"../bench/README.md": "bench.md"}  # files of the repository that are pages of the site


def on_config(config: Any) -> Any:
    """Formulas are read before anything else, in docstrings too."""
    config.markdown_extensions.append(_Formulas())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and pictures that are generated."""
    made: dict[str, str | bytes] = {
        "bench.md": (ROOT / "bench" / "README.md").read_text(encoding="utf-8").replace("](../docs/", "]("),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "]("),
        "reference/settings.md": _settings(),
        "reference/systems.md": _settings_of_systems(),
        "reference/command-line.md": _commands(),
        "assets/architecture.svg": architecture(ROOT),
    }
    for method in ("rennala_nigt", "malenia_nigt", "synchronous_nigt", "afedpg"):
        made[f"assets/{method}.png"] = timeline(method)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links out of docs/ lead to what the site has of it."""
    for outside, inside in _ELSEWHERE.items():
        markdown = markdown.replace(f"]({outside}", f"]({inside}")
    return markdown


class _Formulas(Extension):
    """LaTeX to MathML: ``$...$`` and ``$$...$$`` in pages, ``:math:`` and ``.. math::`` in docstrings."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Comes after fenced code was put aside."""
        md.preprocessors.register(_ToMathml(md), "formulas", 20)


class _ToMathml(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        text = re.sub(r"^\.\. math::\n((?:[ \t]+.*\n?|\n(?=[ \t]))+)", self._block, text, flags=re.MULTILINE)
        text = re.sub(r"^\$\$\n(.*?)\n\$\$$", self._block, text, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r":math:`(.+?)`", self._inline, text, flags=re.DOTALL)
        text = re.sub(r"(?<![\w\\$`])\$(?=\S)([^$\n`]+?)(?<=\S)\$(?![\w$])", self._inline, text)
        text = re.sub(r":(?:func|class|data|meth):`~?([^`]+)`", r"`\1`", text)
        text = re.sub(r"`([^`<>\n]+(?:\n[^`<>\n]+)?)\s+<(https?://[^>]+)>`_", r"[\1](\2)", text)
        return text.split("\n")

    def _block(self, found: re.Match[str]) -> str:
        return "\n" + self._converted(found[1], display="block") + "\n"

    def _inline(self, found: re.Match[str]) -> str:
        return self._converted(found[1])

    def _converted(self, formula: str, **options: Any) -> str:
        formula = re.sub(r"\s+", " ", formula).strip()
        if "&" in formula or r"\begin" in formula:  # would be shown as they are, in one line
            raise PluginError(f"a formula has columns, which cannot be converted: {formula}")
        return self.md.htmlStash.store(convert(formula, **options))


def _settings() -> str:
    from nigt_jax.config import Config, describe

    lines = ["# Settings", "", "Every setting of a configuration. `nigt train --help-settings` prints the same."]
    return "\n".join(lines + _explained(describe(Config), "##")) + "\n"


def _settings_of_systems() -> str:
    from nigt_jax.config import SYSTEMS, describe

    shared = {"workers", "training", "evaluation", "checkpoint"}
    lines = [
        "# Settings of the related systems",
        "",
        "What each system has of its own, and `training`, `evaluation` and `checkpoint`, which all have. The section",
        "`workers` is that of [training](settings.md). `nigt train CONFIG --help-settings` prints those of one system.",
    ]
    every = [setting for setting in describe(SYSTEMS["fednpg"]) if setting.section in shared - {"workers"}]
    lines += ["", "## All systems", *_explained(every, "###")]
    for name, kind in SYSTEMS.items():
        own = [setting for setting in describe(kind) if setting.section not in shared | {""}]
        lines += ["", f"## {name}", *_explained(own, "###")]
    return "\n".join(lines) + "\n"


def _explained(settings: Iterable[Any], level: str) -> list[str]:
    """A table for each section."""
    section, lines = None, []
    for setting in settings:
        if setting.section != section:
            section = setting.section
            lines += [
                "",
                f"{level} {section or 'at the top'}",
                "",
                "| setting | meaning | default | allowed |",
                "|---|---|---|---|",
            ]
        own = f" Of {', '.join(setting.owners)} only." if setting.owners else ""
        unit = f" In {setting.unit}." if setting.unit else ""
        cells = [f"`{setting.key}`", f"{setting.meaning}.{unit}{own}", f"`{setting.default}`", str(setting.allowed)]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")


def _commands() -> str:
    from nigt_jax.cli import _whole_parser

    os.environ["COLUMNS"] = "100"
    parser = _whole_parser()
    (actions,) = (
        action for action in parser._actions if hasattr(action, "choices") and isinstance(action.choices, dict)
    )
    lines = ["# Command line", "", "```text", _help(parser), "```"]
    for name, command in actions.choices.items():
        lines += ["", f"## nigt {name}", "", "```text", _help(command), "```"]
    return "\n".join(lines) + "\n"


def _help(parser: Any) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        parser.print_help()
    return shown.getvalue().rstrip()
