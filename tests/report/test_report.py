"""What a report says of sweeps whose curves are known."""

import dataclasses
import json
import re
import types

import numpy as np
import pytest
from made_up import SWEEP, browser, opened, seed_of, write_sweep

from nigt_jax.cli import main
from nigt_jax.report._claims import compared, seen_in_paper
from nigt_jax.report._content import COLOURS, number
from nigt_jax.report._map import Cell, cells_of, evidence_of, is_map, noise_scale, on_map, scale_in_words
from nigt_jax.report._map_figure import map_png
from nigt_jax.report._names import named
from nigt_jax.report._study import Panel, load_study
from nigt_jax.report._verdict import _ratio, judge, over_environments


def study_in(path):
    """What a page on this sweep alone is about."""
    return load_study(*named([path]))


def fast_where_dear(run, time):
    """A return that climbs by 1 a unit of time; Rennala's twice as fast where communication is slow."""
    twice = run.scenario == "slow-communication" and run.config.method.name == "rennala_nigt"
    best = {0.1: 0.5, 0.2: 1.0, 0.4: 0.25}[run.point["method.learning_rate"]]
    return 5.0 + (2.0 if twice else 1.0) * best * time * (1 + 0.1 * seed_of(run))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("report"), fast_where_dear)


def test_areas_times_and_who_is_first(made):
    study = study_in(made.path)
    assert (study.environment, study.seeds, study.tuning_seeds, study.runs) == ("reacher", [0, 1, 2, 3, 4], [100], 32)
    assert {choice.values["method.learning_rate"] for choice in study.choices.values()} == {0.2}
    equal, slow = study.panels
    assert (equal.name, equal.end, equal.start) == ("equal", 100.0, 5.0)
    assert equal.threshold == pytest.approx(5 + 0.8 * 100)
    verdict = judge(equal)
    assert not verdict.is_clear  # the two lines are the same
    assert verdict.lead.value == 1.0
    row = verdict.rows[0]
    assert row.final == pytest.approx((5 + 94, 105, 5 + 106))  # 20th percentile, median, 80th of slopes 0.9 ... 1.1
    assert row.area.value == pytest.approx(5 + 50)
    assert 5 + 45 <= row.area.low < row.area.value < row.area.high <= 5 + 55
    assert row.time.value == pytest.approx(80)
    assert row.better.value == pytest.approx(0.5)
    verdict = judge(slow)
    assert verdict.first.name == "rennala"
    assert verdict.is_clear
    assert verdict.lead.value == pytest.approx(2.0)
    assert verdict.rows[0].better.value == 1.0
    assert (verdict.ending.best.name, verdict.ending.rival.name) == ("rennala", "afedpg")
    assert verdict.ending.medians == pytest.approx((205, 105))
    assert verdict.ending.better == (1.0, 1.0, 1.0)
    assert verdict.rows[0].line.discarded_fraction == pytest.approx(20 / 120)


def test_a_line_that_never_arrives(tmp_path):
    falls = lambda run, time: -time if run.config.method.name == "afedpg" else time
    (panel, _) = study_in(write_sweep(tmp_path, falls).path).panels
    verdict = judge(panel)
    assert verdict.first.name == "rennala"
    assert verdict.is_clear
    assert np.isinf(verdict.lead.value)
    assert verdict.rows[1].reached == 0


def test_where_nothing_is_learnt_nobody_is_first(tmp_path):
    study = study_in(write_sweep(tmp_path, lambda run, time: -time).path)
    assert judge(study.panels[0]).first is None
    assert main(["report", str(study.path)]) == 0
    assert "No line reaches the threshold in its median run." in (study.path / "report.html").read_text()


def test_times_from_the_start_have_a_ratio():
    """A threshold that the untrained policy has reached already takes no time."""
    times = lambda *values: np.asarray(values, float)[:, None]
    assert _ratio(times(0, 0, 0), times(0, 0, 0)) == 1
    assert _ratio(times(2, 2, 2), times(0, 0, 0)) == np.inf
    assert _ratio(times(np.inf, np.inf), times(np.inf, np.inf)) == 1
    assert _ratio(times(3, 3, 9), times(2, 2, 1)) == 1.5


def test_over_environments_scores_are_normalised(tmp_path, made):
    other = write_sweep(
        tmp_path, lambda run, time: 10 * fast_where_dear(run, time), text=SWEEP.replace("reacher", "hopper")
    )
    equal, slow = over_environments([study_in(made.path), study_in(other.path)])
    assert equal.environments == ["reacher", "hopper"]
    assert slow.scores["rennala"].value == pytest.approx(1.0, abs=0.02)
    assert slow.scores["afedpg"].value == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def page(made):
    assert main(["report", str(made.path)]) == 0
    return made.path / "report.html"


def test_the_page_says_what_the_tables_say(page):
    html = page.read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", html, flags=re.DOTALL)
    assert "2 panels of several methods: in 1 of them one is ahead" in text
    assert "afedpg, takes 2.00 times as long" in text
    assert "Not decided: " in text
    assert "nigt sweep" in text
    assert "No chosen value lies on the edge" in text
    assert "nan" not in text
    content = json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])
    charts = content["sections"][1]["charts"]
    assert [chart["title"] for chart in charts] == ["equal", "slow-communication"]
    data = charts[1]["series"][0]["data"]["simulated_time"]
    assert data["x"][-1] == 100.0
    assert data["y"][-1] == pytest.approx(205.0)
    figures = {path.name for path in page.with_suffix("").iterdir()}
    axes = ("simulated-time", "gradients", "communications", "bytes-up")
    assert figures == {
        "tables.md",
        "evidence.json",
        *(f"made-up-{axis}.{kind}" for axis in axes for kind in ("png", "svg")),
    }
    tables = (page.with_suffix("") / "tables.md").read_text()
    assert "![made-up](made-up-simulated-time.png)" in tables
    assert "| rennala | 0.2 | 55.0 " in tables


def test_the_page_asks_for_nothing(page):
    html = page.read_text(encoding="utf-8")
    markup = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', markup)
    assert "@import" not in markup
    assert "url(" not in markup


@pytest.mark.skipif(browser() is None, reason="there is no Chromium here")
@pytest.mark.parametrize(("width", "scheme"), [(1280, 1), (390, 0)])
def test_in_a_browser_it_is_drawn_without_an_error_or_a_request(page, tmp_path, width, scheme):
    shown = opened(page, tmp_path, width, scheme)
    assert shown.count('class="main-svg"') >= 4  # two charts of returns, two of tuning, several layers each
    assert shown.count('class="chip"') == 4


MAP = (
    SWEEP[: SWEEP.index("scenarios")]
    + """
scenarios:
  alike-free: {workers.compute_time.worker_exponent: 0, workers.communication_time: {scale: 0}}
  alike-dear: {workers.compute_time.worker_exponent: 0, workers.communication_time: {scale: 9, worker_exponent: 0}}
  sqrt-free: {workers.compute_time.worker_exponent: 0.5, workers.communication_time: {scale: 0}}
  sqrt-dear: {workers.compute_time.worker_exponent: 0.5, workers.communication_time: {scale: 9, worker_exponent: 0.5}}
variants:
  noisy-rennala: {method.name: rennala_nigt, method.batch_size: 10}
  noisy-afedpg: {method.name: afedpg}
  quiet-rennala: {method.name: rennala_nigt, method.batch_size: 10, estimator.name: return_to_go}
  quiet-afedpg: {method.name: afedpg, estimator.name: return_to_go}
grid: {seed: [0, 1, 2, 3, 4]}
"""
)


@pytest.mark.slow
def test_the_map_finds_the_noise_scale_and_who_wins(tmp_path):
    """Squared norms of |G|^2 + S / M; AFedPG is four times as slow where exchanges are dear, and measured so."""
    draw = np.random.default_rng(0)

    def norm(run):
        noise = 90.0 if run.config.estimator.name == "policy_gradient" else 9.0
        return float(np.sqrt((9 + noise / run.config.method.gradients_per_update) * draw.uniform(0.98, 1.02)))

    slow = lambda run: run.config.method.name == "afedpg" and "dear" in run.scenario
    value = lambda run, time: time * (1 + 0.02 * seed_of(run))
    folder = write_sweep(tmp_path, value, lambda run: 0.25 if slow(run) else 1.0, MAP, norm=norm)
    study = study_in(folder.path)
    assert is_map(study)
    lines = {
        name: [line for panel in study.panels for line in panel.lines if name in line.name]
        for name in ("noisy", "quiet")
    }
    assert noise_scale(lines["noisy"]) == pytest.approx(10, rel=0.05)
    assert noise_scale(lines["quiet"]) == pytest.approx(1, rel=0.05)
    cells = {(cell.panel.name, cell.estimator): cell for cell in cells_of(study)}
    assert len(cells) == 8
    dear = cells["sqrt-dear", "policy_gradient"]
    # From step to step 10 units of time for Rennala, 4 for AFedPG; noise of a direction by its momentum of 0.9.
    ratio = (4 * (1 + 10 * 0.1 / 1.9)) / (10 * (1 + 10 * 0.1 / 1.9 / 10))
    assert dear.predicted["sqrt-dear-noisy-afedpg"] / dear.predicted["sqrt-dear-noisy-rennala"] == pytest.approx(
        ratio, rel=0.02
    )
    assert (dear.spread, dear.price, dear.topology) == (0.5, 9.0, "parallel-links")
    assert sum(row.pairs for row in evidence_of(list(cells.values()))) == 8
    assert main(["report", str(folder.path), "--output", str(tmp_path / "map.html")]) == 0
    assert {"made-up-cells.png", "made-up-cells.svg", "evidence.json"} <= {p.name for p in (tmp_path / "map").iterdir()}
    assert "The method predicted to be first was first in" in (tmp_path / "map.html").read_text()


LISTED = "workers.compute_time: {scale: 0, values: [1, 1, 1, 1, 1, 1, 1, 1, 1, 9]}"


@pytest.mark.parametrize(
    "times",
    [
        LISTED,
        "workers.compute_time: {speeds: [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1]}",
        "workers.communication_time: {values: [1, 1, 1, 1, 1, 1, 1, 1, 1, 9]}",
    ],
)
def test_the_map_has_no_place_for_times_that_are_listed(tmp_path, times):
    """A law's scale and exponent stand beside them all the same, and say nothing of them."""
    norm = lambda run: float(np.sqrt(9 + 90 / run.config.method.gradients_per_update))
    text = MAP.replace("\nvariants:", f"\n  listed: {{{times}}}\nvariants:").replace("[0, 1, 2, 3, 4]", "[0, 1]")
    study = study_in(write_sweep(tmp_path, lambda run, time: time, text=text, norm=norm).path)
    cells = cells_of(study)
    assert len(cells) == 10  # predictions are of what was played, so these have one, too
    assert {cell.panel.name for cell in cells} - {cell.panel.name for cell in on_map(study, cells)} == {"listed"}


def test_a_sweep_that_a_map_has_no_place_for_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr("nigt_jax.report._report.write_figure", lambda *_: [])  # other pictures only take time
    monkeypatch.setattr("nigt_jax.report._report.timelines", lambda studies: [])
    text = MAP[: MAP.index("scenarios")] + "scenarios:\n" + MAP[MAP.index("variants:") :]
    text = text.replace("variants:", "".join(f"  case-{number}: {{{LISTED}}}\n" for number in range(4)) + "variants:")
    text = text.replace("[0, 1, 2, 3, 4]", "[0, 1]")
    norm = lambda run: float(np.sqrt(9 + 90 / run.config.method.gradients_per_update))
    folder = write_sweep(tmp_path, lambda run, time: time, text=text, norm=norm)
    assert is_map(study_in(folder.path))
    assert main(["report", str(folder.path)]) == 0
    assert 'id="map-made-up"' not in (folder.path / "report.html").read_text()
    assert not list((folder.path / "report").glob("*-cells.*"))


def test_a_map_of_more_methods_than_colours(monkeypatch):
    monkeypatch.setattr("nigt_jax.report._map.judge", lambda panel: types.SimpleNamespace(first=None))
    named = lambda name: types.SimpleNamespace(name=name)
    lines = [
        types.SimpleNamespace(case=name, name=name, config=types.SimpleNamespace(method=named(name)))
        for name in map(str, range(len(COLOURS) + 1))
    ]
    predicted = {line.case: 1.0 + place for place, line in enumerate(lines)}
    panel = Panel("all", lines, 1.0, 0.0, np.inf)
    assert map_png([Cell(panel, "gae", 0.5, 1.0, "allreduce", 1.0, predicted)]).startswith(b"\x89PNG")


def test_numbers_in_words():
    found = [number(value) for value in (None, np.nan, np.inf, 0.12345, 12.345, 1234.5)]
    assert found == ["-", "-", "never", "0.123", "12.3", "1,234"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{none}"], "none: is no folder of a run or a sweep"),
        (["{sweep}", "{run}"], "is a run and .* a sweep, allowed: all of one kind"),
        (["{sweep}", "--output", "{none}"], "--output: got .*none, allowed: a file that ends in .html"),
        ([], "the following arguments are required: FOLDER"),
    ],
)
def test_mistakes_are_answered(made, tmp_path, capsys, arguments, says):
    known = {"none": tmp_path / "none", "sweep": made.path, "run": made.run_folder(made.runs[0]).path}
    assert main(["report", *(text.format(**known) for text in arguments)]) == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_single_run_has_a_page(made, tmp_path):
    run = made.run_folder(made.runs[0]).path
    assert main(["report", str(run), "--output", str(tmp_path / "run.html")]) == 0
    html = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "gradient norm" in html
    assert "what every worker does" in html
    assert "batch_size: 10" in html


def test_the_paper_is_compared_only_where_all_its_methods_are(tmp_path, made):
    (equal, _) = study_in(made.path).panels
    assert seen_in_paper(equal) is None  # Synchronous NIGT is not among these
    text = SWEEP.replace(
        "afedpg: {method.name: afedpg}", "afedpg: {method.name: afedpg}\n  s: {method.name: synchronous_nigt}"
    )
    (equal, slow) = study_in(write_sweep(tmp_path, fast_where_dear, text=text).path).panels
    assert seen_in_paper(equal) == "Rennala NIGT, Synchronous NIGT and AFedPG nearly the same"
    assert compared(judge(slow)) == "the same"
    assert compared(judge(equal)) == "the same"
    assert seen_in_paper(dataclasses.replace(slow, name="elsewhere")) is None


def test_a_noise_scale_that_norms_do_not_tell(tmp_path):
    """Squared norms that fall as 1/M and show nothing beside: noise may be all there is."""
    norm = lambda run: 3.0 / np.sqrt(run.config.method.gradients_in_first_update)
    panel = study_in(write_sweep(tmp_path, fast_where_dear, norm=norm).path).panels[0]
    assert scale_in_words(noise_scale(panel.lines)) == "too large to tell"
    assert [scale_in_words(scale) for scale in (0.5, 12.34, 3449.2)] == ["0.5", "12.3", "3,449"]


def test_tables_for_a_paper(made, tmp_path, capsys):
    """Every cell of the page's tables, with what LaTeX would take for something else escaped; settings; versions."""
    assert main(["report", str(made.path), "--output", str(tmp_path / "r.html"), "--latex"]) == 0
    assert "tables.md" in capsys.readouterr().out
    text = (tmp_path / "r" / "tables.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 4
    assert r"method.learning\_rate & " in text
    assert r"nigt\_jax & " in text
    assert "arXiv:2509.24305" in text
    rows = [line for line in text.splitlines() if line.endswith("\\\\") and " & " in line]
    assert len(rows) > 40
    for row in rows:
        bare = row.replace(r"\_", "").replace(r"\%", "").replace(r"\#", "").replace(r"\&", "")
        assert not set(bare) & set("_%#")
