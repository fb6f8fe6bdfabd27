"""Folders of one name on a page: none takes another's place."""

import json
import re
from pathlib import Path

import pytest
from made_up import write_sweep

from nigt_jax.cli import main
from nigt_jax.records import write_metrics
from nigt_jax.report._names import named
from nigt_jax.report._system_page import _COUNTERS

SWEEP = """
base:
  environment: {name: reacher, horizon: 10}
  estimator: {name: policy_gradient}
  training: {budget: 100 gradients}
scenarios:
  equal: {workers.compute_time.worker_exponent: 0}
variants:
  rennala: {method.name: rennala_nigt, method.batch_size: 10}
  afedpg: {method.name: afedpg}
grid:
  seed: [0, 1]
"""


def called(*paths):
    return [(one.name, one.stem) for one in named([Path(path) for path in paths])]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["results/cpu/hopper", "results/h200/hopper"], ["cpu/hopper", "h200/hopper"]),
        (["a/x/h", "b/x/h", "c/y/h", "else"], ["a/x/h", "b/x/h", "y/h", "else"]),
        (["/h", "/a/h"], ["h", "a/h"]),
        (["runs/a", "./runs/b/../a", "runs/a/", "runs/b"], ["a", "b"]),
    ],
)
def test_as_few_leading_parts_as_tell_folders_apart(paths, names):
    assert called(*paths) == [(name, name.replace("/", "-")) for name in names]


def test_a_folder_that_is_named_as_the_others_files_are():
    assert called("cpu/h", "gpu/h", "cpu-h") == [("cpu/h", "cpu-h"), ("gpu/h", "gpu-h"), ("cpu-h", "cpu-h-2")]


def test_the_folder_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "hopper" / "deep").mkdir(parents=True)
    (tmp_path / "newest").symlink_to("hopper")
    monkeypatch.chdir(tmp_path / "hopper" / "deep")
    assert called("..") == [("hopper", "hopper")]
    assert called(".") == [("deep", "deep")]
    assert called(tmp_path / "newest") == [("newest", "newest")]  # as its user calls it
    assert called(tmp_path / "newest", "..") == [("newest", "newest")]
    assert [one.path for one in named([Path(".")])] == [Path(".")]  # commands have it as it was given


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of two sweeps of one name, whose workers have other times, and of one of them once more."""
    folder = tmp_path_factory.mktemp("names")
    for machine, exponent in (("cpu", 0), ("h200", 0.5)):
        (folder / machine).mkdir()
        slope = 1.0 + exponent
        text = SWEEP.replace("exponent: 0", f"exponent: {exponent}")
        write_sweep(folder / machine, lambda run, time, slope=slope: slope * time, text=text, name="hopper")
    paths = [str(folder / machine / "hopper") for machine in ("cpu", "h200", "cpu")]
    assert main(["report", *paths, "--output", str(folder / "both.html")]) == 0
    return folder / "both.html"


def test_two_sweeps_of_one_name(page):
    html = page.read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])
    drawn = [section["charts"][0]["series"][0]["data"]["simulated_time"] for section in content["sections"][1:3]]
    assert [data["y"][-1] for data in drawn] == [100.0, 150.0]
    for stem, name in (("cpu-hopper", "cpu/hopper"), ("h200-hopper", "h200/hopper")):
        assert f'<section id="sweep-{stem}">\n<h2>{name}</h2>' in html
        assert f"<summary>Settings of {name}</summary>" in html
        assert f"--name {stem}-again" in html
        assert f"![{name}]({stem}-simulated-time.png)" in (page.with_suffix("") / "tables.md").read_text()
    axes = ("simulated-time", "gradients", "communications", "bytes-up")
    assert {path.name for path in page.with_suffix("").glob("*.png")} == {
        f"{stem}-{axis}.png" for stem in ("cpu-hopper", "h200-hopper") for axis in axes
    }


def test_each_sweep_has_its_own_picture_of_workers(page):
    pictures = re.findall(r"<figcaption>(.*?)</figcaption>", page.read_text(encoding="utf-8"))
    shown = "equal: what every worker does in the first rounds of rennala"
    assert pictures == [f"cpu/hopper, {shown}", f"h200/hopper, {shown}"]


def test_sweeps_share_a_picture_of_workers_where_it_is_the_same(tmp_path):
    for name in ("a", "b"):
        write_sweep(tmp_path, lambda run, time: time, text=SWEEP, name=name)
    output = tmp_path / "both.html"
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(output)]) == 0
    pictures = re.findall(r"<figcaption>(.*?)</figcaption>", output.read_text(encoding="utf-8"))
    assert pictures == ["equal: what every worker does in the first rounds of rennala"]


def test_a_report_of_the_folder_one_is_in(tmp_path, monkeypatch):
    folder = write_sweep(tmp_path, lambda run, time: time, text=SWEEP, name="hopper")
    monkeypatch.chdir(folder.path)
    assert main(["report", "."]) == 0
    html = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "<title>nigt_jax: hopper</title>" in html
    assert "nigt sweep sweep.yaml --name hopper-again" in html
    assert (folder.path / "report" / "hopper-simulated-time.png").is_file()


def test_two_runs_of_one_name(page, tmp_path):
    runs = [next((page.parent / machine / "hopper" / "runs").glob("*-rennala-*0")) for machine in ("cpu", "h200")]
    assert runs[0].name == runs[1].name
    assert main(["report", *map(str, runs), "--output", str(tmp_path / "runs.html")]) == 0
    html = (tmp_path / "runs.html").read_text(encoding="utf-8")
    for machine in ("cpu", "h200"):
        assert f"<summary>Configuration of {machine}/hopper/runs/{runs[0].name}</summary>" in html


def test_two_runs_of_a_related_system_of_one_name(tmp_path):
    for machine in ("cpu", "h200"):
        path = tmp_path / machine / "mine"
        path.mkdir(parents=True)
        (path / "config.yaml").write_text("system: async_evaluation\n")
        records = [dict.fromkeys(_COUNTERS, number) | {"error": 1.0 / (1 + number)} for number in range(3)]
        write_metrics(path / "metrics.jsonl", records)
    output = tmp_path / "systems.html"
    paths = [str(tmp_path / machine / "mine") for machine in ("cpu", "h200")]
    assert main(["report", *paths, "--output", str(output)]) == 0
    html = output.read_text(encoding="utf-8")
    for machine in ("cpu", "h200"):
        assert f"<summary>Configuration of {machine}/mine</summary>" in html
        assert f"--name {machine}-mine-again" in html
