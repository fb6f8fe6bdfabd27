"""A page as Markdown: its texts and tables, for a repository or a notebook. Needs no JAX."""

from collections.abc import Mapping

from nigt_jax.report._content import Section, Table
from nigt_jax.report._page import Page


def markdown(page: Page, pictures: Mapping[str, str]) -> str:
    """The texts and tables of a page.

    Args:
      page: the page.
      pictures: a file to show in a section, by the section's anchor.
    """
    parts = [f"# {page.title}", *page.lead]
    for section in page.sections:
        parts += _section(section, pictures.get(section.anchor))
    return "\n\n".join(parts) + "\n"


def _section(section: Section, picture: str | None) -> list[str]:
    parts = [f"## {section.title}"]
    if picture is not None:
        parts.append(f"![{section.title}]({picture})")
    parts += section.texts
    for table in section.tables:
        parts += [table.title, _table(table)] if table.title else [_table(table)]
    if section.commands:
        parts.append("```bash\n" + "\n".join(section.commands) + "\n```")
    return parts


def _table(table: Table) -> str:
    row = lambda cells: "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    return "\n".join([row(table.head), "|" + "---|" * len(table.head), *map(row, table.rows)])
