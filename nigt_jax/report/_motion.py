"""A policy in motion: one HTML file that draws the bodies of episodes, and asks the network for nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

import nigt_jax
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import write_whole
from nigt_jax.report._page import asset
from nigt_jax.runs import Episode

_SHAPES = {0: "plane", 2: "sphere", 3: "capsule", 5: "cylinder", 6: "box", 7: "mesh"}  # as MuJoCo numbers them
_GREY = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's own colour, where a model says none
_SAND = (0.87, 0.58, 0.26, 1.0)
_MOST_TRIANGLES = 2000  # of all meshes together


class Scene(NamedTuple):
    """An episode to show.

    Attributes:
      title: what it is.
      episode: it.
    """

    title: str
    episode: Episode


def write_motion(path: Path, title: str, lead: str, scenes: Sequence[Scene]) -> None:
    """Writes the page.

    Raises:
      UserError: the bodies cannot be drawn.
      RunError: the page cannot be written.
    """
    data = json.dumps([_scene(scene) for scene in scenes], allow_nan=False).replace("<", "\\u003c")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(asset("motion.html")).render(
        title=title,
        lead=lead,
        titles=[scene.title for scene in scenes],
        version=nigt_jax.__version__,
        style=Markup(asset("motion.css")),
        script=Markup(asset("motion.js")),
        content=Markup(data),
    )
    try:
        write_whole(path, page)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error


def _scene(scene: Scene) -> dict[str, Any]:
    """What the script draws; positions in metres, to a tenth of a millimetre."""
    episode = scene.episode
    if not (np.isfinite(episode.positions).all() and np.isfinite(episode.rotations).all()):
        raise UserError(f"{scene.title}: the physics broke in this episode, so it cannot be drawn; take another --seed")
    frames = np.concatenate([episode.positions, episode.rotations], axis=2)
    return {
        "title": scene.title,
        "geoms": _geoms(episode.model),
        "frames": np.round(frames, 4).reshape(len(frames), -1).tolist(),
        "rewards": np.round(episode.rewards.astype(float), 5).tolist(),
        "ended": episode.ended,
        "seconds": episode.step_seconds,
    }


def _geoms(model: Any) -> list[dict[str, Any]]:
    """The shapes of a model, each with the link that it belongs to, -1 for what does not move."""
    if model is None:
        raise UserError("the environment has no model of MuJoCo to draw: an attribute mj_model, or sys as Brax's have")
    found: list[dict[str, Any]] = []
    each = [np.asarray(getattr(model, f"geom_{name}")) for name in ("pos", "quat", "size")]
    meshes = max(1, int((np.asarray(model.geom_type) == 7).sum()))
    for k, kind in enumerate(np.asarray(model.geom_type)):
        if int(kind) not in _SHAPES:
            continue
        colour = tuple(np.asarray(model.geom_rgba[k], float).round(3).tolist())
        shape = {
            "shape": _SHAPES[int(kind)],
            "link": int(model.geom_bodyid[k]) - 1,
            "pose": [*np.round(each[0][k], 4).tolist(), *np.round(each[1][k], 4).tolist()],
            "size": np.round(each[2][k], 4).tolist(),
            "colour": _SAND if colour == _GREY else colour,
        }
        if colour[3] > 0:
            found.append(shape | (_mesh(model, int(model.geom_dataid[k]), meshes) if int(kind) == 7 else {}))
    return found


def _mesh(model: Any, number: int, meshes: int) -> dict[str, Any]:
    first, count = model.mesh_faceadr[number], model.mesh_facenum[number]
    every = max(1, -(-int(count) * meshes // _MOST_TRIANGLES))
    start = model.mesh_vertadr[number]
    points = model.mesh_vert[start : start + model.mesh_vertnum[number]]
    return {"points": np.round(points, 4).tolist(), "faces": model.mesh_face[first : first + count : every].tolist()}
