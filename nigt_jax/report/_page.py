"""The page: one HTML file with everything in it. Needs no JAX."""

import dataclasses
import importlib.resources
import json
from collections.abc import Sequence

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import nigt_jax
from nigt_jax.report._content import COLOURS, DASHES, MARKERS, Section


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
      title: its title.
      lead: what it shows, in a few sentences.
      sections: its parts.
    """

    title: str
    lead: list[str]
    sections: Sequence[Section]

    def html(self) -> str:
        """The page as one file that asks the network for nothing."""
        content = {
            "styles": {"colours": COLOURS, "dashes": DASHES, "markers": MARKERS},
            "sections": [section.script() for section in self.sections],
        }
        # "</" would end the element that the text stands in.
        data = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        return environment.from_string(asset("page.html")).render(
            title=self.title,
            lead=self.lead,
            sections=self.sections,
            version=nigt_jax.__version__,
            style=Markup(asset("page.css")),
            script=Markup(asset("page.js")),
            plotly=Markup(get_plotlyjs()),
            content=Markup(data),
        )


def asset(name: str) -> str:
    """A file of this room, as text."""
    return (importlib.resources.files("nigt_jax.report") / "assets" / name).read_text(encoding="utf-8")
