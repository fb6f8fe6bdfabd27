"""Parts of `nigt bench --accelerator`: each is kept once it is done, whatever becomes of the next."""

import functools
import json
import os
from pathlib import Path

import jax
import pytest

from nigt_jax.benchmark.accelerator import PARTS, Sizes, _parts, _scenario, measure_accelerator, open_figures, sizes_for
from nigt_jax.cli import main
from nigt_jax.errors import RunError, UserError

TINY = Sizes(
    horizon=5,
    episodes=4,
    turns=1,
    lanes=4,
    queue_horizon=5,
    queue_lanes=2,
    queue_each=2,
    runs=(2,),
    timed=1,
    rounds=1,
    gradients=4,
    parameters=100,
    ppo_lanes=32,
)
HERE = {"device": "a chip", "devices": 1, "jax": "0.10", "date": "2026-01-01"}


class Parts(dict):
    """Parts that note that they were asked; one of them fails or is cut short."""

    def __init__(self, error=None):
        self.asked, self.error = [], error
        super().__init__({name: functools.partial(self._part, name) for name in ("first", "second", "third")})

    def _part(self, name, sizes):
        assert sizes is TINY
        self.asked.append(name)
        if name == "second" and self.error is not None:
            raise self.error
        return {"rate, steps/s": 3.5}


def run(path, parts, **keywords):
    found = open_figures(path, HERE, TINY._asdict())
    return measure_accelerator(found, parts, TINY, path, **keywords)


def kept(path):
    return json.loads(path.read_text())["parts"]


def test_a_cut_leaves_what_was_measured_and_a_second_start_goes_on(tmp_path):
    path, cut = tmp_path / "figures.json", Parts(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(path, cut)
    assert cut.asked == ["first", "second"]
    assert list(kept(path)) == ["first"]
    again, shown = Parts(), []
    run(path, again, show=lambda name, part: shown.append(name))
    assert again.asked == ["second", "third"]
    assert shown == list(kept(path)) == ["first", "second", "third"]
    assert all(part["figures"] == {"rate, steps/s": 3.5} and part["seconds"] >= 0 for part in kept(path).values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]


def test_a_part_that_fails_is_recorded_and_tried_again(tmp_path):
    path, failing = tmp_path / "figures.json", Parts(RuntimeError("RESOURCE_EXHAUSTED: out of memory\nand more"))
    run(path, failing)
    assert failing.asked == ["first", "second", "third"]
    assert kept(path)["second"].pop("seconds") >= 0
    assert kept(path)["second"]["error"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    again = Parts()
    run(path, again)
    assert again.asked == ["second"]
    assert "error" not in kept(path)["second"]


def test_every_part_is_in_the_file_before_the_next_begins(tmp_path):
    path, seen = tmp_path / "figures.json", []
    run(path, Parts(), announce=lambda name: seen.append(list(kept(path)) if path.exists() else []))
    assert seen == [[], ["first"], ["first", "second"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "is no file of nigt bench --accelerator"),
        ("[]", "is no file of nigt bench --accelerator"),
        ('{"kind": "accelerator", "machine": 1}', "is no file of nigt bench --accelerator"),
    ],
)
def test_another_file_is_not_written_over(text, says, tmp_path):
    path = tmp_path / "figures.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        run(path, Parts())
    assert path.read_text() == text


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (Path(os.devnull), tmp_path / "fifo"):
        with pytest.raises(UserError, match=f"--json: {path}: cannot be read: is no regular file"):
            run(path, Parts())


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        run(tmp_path / "nowhere" / "figures.json", Parts())


def test_a_file_of_another_machine_is_not_gone_on_with(tmp_path):
    path = tmp_path / "figures.json"
    run(path, Parts())
    with pytest.raises(UserError, match="has device a chip, and here it is another"):
        open_figures(path, HERE | {"device": "another"}, TINY._asdict())
    with pytest.raises(UserError, match="has horizon 5, and here it is 6"):
        open_figures(path, HERE, TINY._replace(horizon=6)._asdict())
    open_figures(path, HERE | {"date": "2027-01-01"}, TINY._asdict())


def test_a_cpu_has_small_sizes():
    small, large = sizes_for("cpu"), sizes_for("cuda")
    assert small.parameters < large.parameters == 10**8
    assert set(small.runs) < set(large.runs) == {16, 256}


def on_fast(sweep, sizes):
    settings = sweep(sizes)
    return settings | {"overrides": settings["overrides"] | {"environment.name": "fast", "environment.horizon": 5}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
@pytest.mark.parametrize("name", [name for name in PARTS if name not in ("humanoid", "ant")])
def test_every_part_has_figures(name, monkeypatch):
    for constant in ("_USUAL", "_LARGE"):
        monkeypatch.setattr(_parts, constant, "fast")
    monkeypatch.setattr(_scenario, "_sweep", functools.partial(on_fast, _scenario._sweep))
    part = functools.partial(_parts.stages, "fast") if name == "hopper" else PARTS[name]
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # optax's and Brax's own habits
        found = measure_accelerator(open_figures(None, HERE, TINY._asdict()), {name: part}, TINY)["parts"][name]
    assert "error" not in found, found
    assert all(isinstance(value, bool | int | float) for value in found["figures"].values())
    assert len(found["figures"]) >= 2
    if name == "scenario":
        assert found["figures"]["runs that broke"] == 0
        assert found["figures"]["runs"] == 3 * 5 + 3 * 5  # three variants: step sizes, then seeds with the best


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nigt_jax.benchmark.accelerator.PARTS", Parts(RuntimeError("no such package")))
    monkeypatch.setattr("nigt_jax.benchmark.accelerator.sizes_for", lambda platform: TINY)
    path = tmp_path / "figures.json"
    assert main(["bench", "--accelerator", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no accelerator: every part is small" in out
    assert "failed: RuntimeError: no such package" in out
    found = json.loads(path.read_text())
    assert found["machine"]["platform"] == "cpu"
    assert {"driver", "jax", "jaxlib", "brax", "mujoco", "nigt_jax", "date"} <= found["machine"].keys()
    assert list(found["parts"]) == ["first", "second", "third"]
