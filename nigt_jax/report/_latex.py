"""The tables of a page for a paper: LaTeX with booktabs, settings and versions among them. Needs no JAX."""

from collections.abc import Mapping, Sequence

from nigt_jax.report._content import Section, Table
from nigt_jax.report._page import Page

_HEAD = r"""% Needs \usepackage{booktabs} and \usepackage{longtable}.
%
% @misc{nigt_jax, title = {nigt\_jax: asynchronous distributed policy gradient in JAX}, note = {version VERSION}}
% @article{tyurin2025asynchronous,
%   title = {Asynchronous Policy Gradient Aggregation for Efficient Distributed Reinforcement Learning},
%   author = {Tyurin, Alexander and Spiridonov, Andrei and Rudenko, Varvara},
%   journal = {arXiv preprint arXiv:2509.24305}, year = {2025}}
"""
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def latex(page: Page, settings: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """All tables of a page, then those of settings and versions.

    Args:
      page: the page.
      settings: values of the configuration by dotted key.
      versions: of the packages that computed the numbers.
    """
    parts = [_HEAD.replace("VERSION", escaped(versions.get("nigt_jax", "unknown")))]
    for section in page.sections:
        parts += [_table(table, _caption(section, table)) for table in section.tables]
    parts.append(_long("Settings.", ["setting", "value"], list(settings.items())))
    parts.append(_table(Table("", ["package", "version"], [list(row) for row in versions.items()]), "Versions."))
    return "\n".join(parts)


def _caption(section: Section, table: Table) -> str:
    return f"{section.title}: {table.title}." if table.title else f"{section.title}."


def _table(table: Table, caption: str) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        _row(table.head),
        r"\midrule",
        *map(_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _long(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that may go over several pages."""
    lines = [
        r"\begin{longtable}{ll}",
        rf"\caption{{{escaped(caption)}}}\\",
        r"\toprule",
        _row(head),
        r"\midrule",
        r"\endfirsthead",
        *map(_row, rows),
        r"\bottomrule",
        r"\end{longtable}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """Text that LaTeX takes for text."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))  # a line break ends a comment
