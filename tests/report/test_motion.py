"""A policy in motion: the bodies of an episode in one page, drawn by a real browser."""

import json
import re

import jax
import numpy as np
import pytest
from made_up import browser, opened

from nigt_jax.cli import main
from nigt_jax.environments._brax import make_brax_environment
from nigt_jax.errors import RunError, UserError
from nigt_jax.report import Scene, write_motion
from nigt_jax.runs import Episode


def episode(name="reacher", steps=40, ended=True):
    """Bodies of an environment that tumble about."""
    system, rng = make_brax_environment(name, "spring").sys, np.random.default_rng(0)
    links = len(system.link_names)
    turn = rng.normal(size=(steps + 1, links, 4))
    places = rng.normal(size=(1, links, 3)) * 0.1 + np.linspace(0, 1, steps + 1)[:, None, None] * [1, 0, 0]
    turn /= np.linalg.norm(turn, axis=2, keepdims=True)
    return Episode(places, turn, np.full(steps, 0.5), ended, system.mj_model, 0.05, 7)


def content(page):
    text = page.read_text()
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)[1])


@pytest.mark.parametrize("name", ["reacher", "humanoid"])
def test_the_page_has_every_body_in_every_frame(tmp_path, name):
    page, shown = tmp_path / "p.html", episode(name)
    write_motion(page, "title", "lead", [Scene("one", shown)])
    (scene,) = content(page)
    links = shown.positions.shape[1]
    assert len(scene["frames"]) == 41
    assert len(scene["rewards"]) == 40
    frames = np.asarray(scene["frames"]).reshape(41, links, 7)
    np.testing.assert_allclose(frames[..., :3], shown.positions, atol=1e-4)
    np.testing.assert_allclose(frames[..., 3:], shown.rotations, atol=1e-4)
    drawn = {geom["link"] for geom in scene["geoms"]}
    assert drawn <= set(range(-1, links))
    assert drawn >= (set(range(links)) if name == "humanoid" else {0, 1})
    assert all(geom["shape"] in ("plane", "sphere", "capsule", "cylinder", "box", "mesh") for geom in scene["geoms"])
    assert "http" not in page.read_text().replace("http://www.w3.org", "")


@pytest.mark.skipif(browser() is None, reason="there is no Chromium here")
@pytest.mark.parametrize(("width", "scheme"), [(1280, 1), (390, 0)])
def test_in_a_browser_it_plays_without_an_error_or_a_request(tmp_path, width, scheme):
    page = tmp_path / "p.html"
    write_motion(page, "title", "lead", [Scene("best", episode("humanoid")), Scene("worst", episode(ended=False))])
    for place, wanted in (("#12", ("12", "6.0", "")), ("#40", ("40", "20.0", ", ended"))):
        shown = opened(page, tmp_path, width, scheme, place)
        first, second = re.findall(r'class="told">step (\d+) of 40, return ([\d.]+)(.*?)<', shown)
        assert first == wanted
        assert second == (*wanted[:2], wanted[2].replace("ended", "cut at the horizon"))


def test_what_cannot_be_drawn(tmp_path):
    page, broken = tmp_path / "p.html", episode()
    broken.positions[3] = np.nan
    with pytest.raises(UserError, match="the physics broke in this episode"):
        write_motion(page, "title", "lead", [Scene("one", broken)])
    with pytest.raises(UserError, match="has no model of MuJoCo to draw"):
        write_motion(page, "title", "lead", [Scene("one", episode()._replace(model=None))])
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        write_motion(tmp_path / "none" / "p.html", "title", "lead", [Scene("one", episode())])


CONFIG = """
environment: {name: inverted_pendulum, horizon: 30}
policy: {hidden_sizes: [4]}
method: {name: malenia_nigt, batch_size: 4}
workers: {count: 2, environments: [{workers: [2], gravity: 3.0}]}
training: {iterations: 1, platform: cpu, devices: 1, lanes: 4}
evaluation: {episodes: 2}
"""


@pytest.fixture
def as_outside():
    """What JAX allows unless it is told otherwise, on which Brax relies."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("as_outside")
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_the_command_shows_the_best_and_the_worst_world(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(CONFIG)
    assert main(["train", str(tmp_path / "c.yaml"), "--output", str(tmp_path), "--name", "r"]) == 0
    capsys.readouterr()
    assert main(["render", str(tmp_path / "r")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["episode   best", "episode   worst"]
    best, worst = content(tmp_path / "r" / "motion.html")
    told = [re.fullmatch(r"(best|worst): worker (\d), mean return ([\d.,-]+)", s["title"]) for s in (best, worst)]
    assert [match[1] for match in told] == ["best", "worst"]
    assert {match[2] for match in told} == {"1", "2"}
    assert float(told[0][3]) >= float(told[1][3])
    assert f"return {sum(best['rewards']):,.2f} in {len(best['rewards']):,} steps" in lines[0]
    assert best["frames"] != worst["frames"]
    assert main(["render", str(tmp_path / "r"), "--output", str(tmp_path / "none" / "p.html")]) == 2


@pytest.mark.slow
def test_an_environment_without_bodies(tmp_path, capsys):
    config = CONFIG.replace("inverted_pendulum", "probes:Quadratic").replace(", gravity: 3.0", "")
    (tmp_path / "c.yaml").write_text(config.replace("malenia_nigt", "rennala_nigt"))
    assert main(["train", str(tmp_path / "c.yaml"), "--output", str(tmp_path), "--name", "r"]) == 0
    capsys.readouterr()
    assert main(["render", str(tmp_path / "r")]) == 2
    assert "probes:Quadratic has no bodies to show; allowed: an environment whose state" in capsys.readouterr().err
