"""Pictures that are made of the code: which room knows which, and who computes when."""

import io
import tomllib
from html import escape
from pathlib import Path

import grimp

_WIDTH, _ROW, _BOX, _GAP = 980, 74, 34, 12


def architecture(root: Path) -> str:
    """Rooms of the package in the layers that `make lint` checks, and every import from one to another, as SVG.

    An import that follows from others (a room knows one that knows it) is left out, or nothing could be seen.
    """
    layers = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = [[name.strip() for name in layer.split("|")] for layer in layers]
    rows = [[name for name in row if not name.startswith("__")] for row in rows]
    rows = [row for row in rows if row]
    graph = grimp.build_graph("nigt_jax")
    rooms = [name for row in rows for name in row]
    inside = {name: {f"nigt_jax.{name}"} | graph.find_descendants(f"nigt_jax.{name}") for name in rooms}
    owner = {module: name for name, modules in inside.items() for module in modules}
    knows = {name: _known(graph, inside[name], owner) - {name} for name in rooms}
    place = {}
    for y, row in enumerate(rows):
        width = (_WIDTH - _GAP * (len(row) + 1)) / len(row)
        for x, name in enumerate(row):
            place[name] = (_GAP + x * (width + _GAP), 10 + y * _ROW, width)
    lines = [_line(place[name], place[other]) for name in rooms for other in _direct(name, knows)]
    boxes = [_drawn(name, *place[name]) for name in rooms]
    height = 10 + len(rows) * _ROW
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
    title = "<title>The rooms of nigt_jax; a line leads from a room to one that it knows</title>"
    return "\n".join([head, title, *lines, *boxes, "</svg>"])


def _known(graph: grimp.ImportGraph, modules: set[str], owner: dict[str, str]) -> set[str]:
    found = {other for module in modules for other in graph.find_modules_directly_imported_by(module)}
    return {owner[other] for other in found if other in owner}


def _direct(name: str, knows: dict[str, set[str]]) -> set[str]:
    """Those that it knows and does not hear of through another one."""
    return {other for other in knows[name] if not any(other in _all(via, knows) for via in knows[name] - {other})}


def _all(name: str, knows: dict[str, set[str]]) -> set[str]:
    found, wanted = set[str](), [name]
    while wanted:
        new = knows[wanted.pop()] - found
        found |= new
        wanted += new
    return found


def _line(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    (x1, y1, w1), (x2, y2, w2) = start, end
    x1, x2 = x1 + w1 / 2, x2 + w2 / 2
    bend = (y2 - y1 - _BOX) / 2
    curve = f"M{x1:.0f},{y1 + _BOX:.0f} C{x1:.0f},{y1 + _BOX + bend:.0f} {x2:.0f},{y2 - bend:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{curve}" fill="none" stroke="#7986cb" stroke-width="1.3" opacity="0.75"/>'


def _drawn(name: str, x: float, y: float, width: float) -> str:
    text = f'<text x="{x + width / 2:.0f}" y="{y + 22:.0f}" text-anchor="middle" font-size="14" fill="#1a237e">'
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_BOX}" rx="6" fill="#e8eaf6" stroke="#3f51b5"/>'
        f"{text}{escape(name)}</text>"
    )


def timeline(method: str) -> bytes:
    """Six workers of uneven speed under a method, as a PNG."""
    from nigt_jax.config import load_config
    from nigt_jax.report._timeline import draw_timeline
    from nigt_jax.simulation import make_timeline

    workers = {"count": 6, "compute_time": {"worker_exponent": 1.0}, "communication_time": {"scale": 0.5}}
    config = load_config(overrides={"method.name": method, "workers": workers} | _batch(method))
    picture, file = make_timeline(config), io.BytesIO()
    assert picture is not None  # of so few gradients there always is one
    draw_timeline(picture, file)
    return file.getvalue()


def _batch(method: str) -> dict[str, int]:
    return {"method.trajectories_per_gradient": 2} if method == "afedpg" else {"method.batch_size": 8}
