"""A damaged checkpoint costs the rounds since the one before it, and nothing else."""

import shutil
import threading
import warnings

import numpy as np
import pytest
from probes import EndsWhenGood
from resuming import change, recorded, refused_by_command_line
from short_runs import final_state, same

from nigt_jax.config import check_system
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.records import Checkpoints, read_metrics
from nigt_jax.related import train as train_system
from nigt_jax.runs import load_policy, train
from nigt_jax.sweeps import create_sweep, load_sweep, open_sweep, plan_of, platform_of, run_sweep

TOLD = r"12: this checkpoint cannot be read: .*; goes back to iteration 10, and what came after it is computed again"


def flip(path):
    """Changes one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def undigested(checkpoint, damage):
    """As when the power was lost before the digests were written."""
    (checkpoint / "sha256").unlink()
    damage(checkpoint)


DAMAGES = {
    "a bit of the state": lambda c: flip(largest(c / "state")),
    "an empty state": lambda c: largest(c / "state").write_bytes(b""),
    "no file of the state": lambda c: largest(c / "state").unlink(),
    "notes": lambda c: largest(c / "notes").write_text("["),
    "digests": lambda c: flip(c / "sha256"),
    "no digest": lambda c: (c / "sha256").write_bytes(b""),
    "without digests": lambda c: undigested(c, lambda c: largest(c / "state").write_bytes(b"")),
    "notes without digests": lambda c: undigested(c, lambda c: largest(c / "notes").write_text("[")),
    "metadata without digests": lambda c: undigested(c, lambda c: (c / "state" / "_METADATA").write_text("[")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_every_kind_of_damage_is_noticed(straight, tmp_path, damage):
    shutil.copytree(straight[1] / "checkpoints", tmp_path / "checkpoints")
    damage(tmp_path / "checkpoints" / "12")
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    with pytest.warns(RunWarning, match=TOLD):
        checkpoints.go_back()
    assert (checkpoints.latest, checkpoints.all) == (10, [10])
    assert checkpoints.notes()["totals"]["gradients"] > 0
    checkpoints.close()


def test_the_run_goes_back_to_the_newest_that_is_whole(straight, tmp_path):
    cfg, folder, _ = straight
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    flip(largest(run / "checkpoints" / "12" / "state"))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")  # what a file system may leave of lines after the checkpoint
    with pytest.warns(RunWarning, match=TOLD):
        train(cfg, run, resume=True, environment=EndsWhenGood())
    assert same(read_metrics(run / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))
    for x, y in zip(final_state(cfg, run)[0], final_state(cfg, folder)[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert [p.name for p in (run / "damaged").iterdir()] == ["12"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(cfg, run, resume=True, environment=EndsWhenGood())  # and it is over


def test_nothing_is_touched_before_something_is_computed(straight, tmp_path):
    """A refused or interrupted start leaves what may yet be mended by hand."""
    cfg, folder, _ = straight
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    flip(largest(run / "checkpoints" / "12" / "state"))
    before = {p: p.read_bytes() for p in (run / "checkpoints").rglob("*") if p.is_file()}
    stop = threading.Event()
    stop.set()
    with pytest.warns(RunWarning, match=TOLD):
        train(cfg, run, resume=True, environment=EndsWhenGood(), interrupted=stop)
    assert {p: p.read_bytes() for p in (run / "checkpoints").rglob("*") if p.is_file()} == before


def test_a_policy_is_never_taken_from_what_is_damaged(straight, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(straight[1], run)
    flip(largest(run / "checkpoints" / "12" / "state"))
    with pytest.raises(
        UserError, match=r"is not as it was written; the one before it is of iteration 10, to which --r"
    ):
        load_policy(run)
    assert load_policy(run, iteration=10).iteration == 10


def test_where_none_is_whole_there_is_one_line(straight, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(straight[1], run)
    for checkpoint in (run / "checkpoints").iterdir():
        flip(largest(checkpoint / "state"))
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert "neither can any older one" in refused_by_command_line(run, capsys)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    shutil.rmtree(run / "checkpoints" / "10")
    assert "12: this checkpoint cannot be read: " in (line := refused_by_command_line(run, capsys))
    assert "there is no older one" in line


@pytest.mark.slow
def test_versions_and_changes_of_what_is_computed_again_are_forgotten(straight, tmp_path):
    cfg, folder, _ = straight
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    (now,) = recorded(run)["versions"]
    other = {"from_iteration": 11, "packages": now["packages"] | {"jax": "0.0.1"}}
    later = {"from_iteration": 11, "setting": "evaluation.seed", "before": 1, "after": 0}
    change(run, versions=[now, other], changes=[later])
    flip(largest(run / "checkpoints" / "12" / "state"))
    with pytest.warns(RunWarning, match=TOLD):
        train(cfg, run, resume=True, environment=EndsWhenGood())
    assert (recorded(run)["versions"], recorded(run)["changes"]) == ([now], [])


def test_a_related_system_goes_back_too(tmp_path):
    cfg = check_system(
        {
            "system": "fednpg",
            "world": {"side": 2},
            "workers": {"count": 2},
            "training": {"iterations": 6, "chunk": 3},
            "evaluation": {"every": 3},
            "checkpoint": {"every": 3},
        }
    )
    train_system(cfg, tmp_path)
    before = same(read_metrics(tmp_path / "metrics.jsonl"))
    flip(largest(tmp_path / "checkpoints" / "6" / "state"))
    with pytest.warns(RunWarning, match="goes back to iteration 3"):
        train_system(cfg, tmp_path, resume=True)
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == before


def test_a_sweep_goes_back_too(tmp_path):
    """Each run of a program to the round that it had reached at the older checkpoint of all of them."""
    (tmp_path / "base.yaml").write_text(
        "{environment: {name: fast, horizon: 4}, policy: {hidden_sizes: [4]}, method: {batch_size: 2},"
        " training: {iterations: 6, chunk: 3, devices: 1}, evaluation: {every: 3, episodes: 2},"
        " checkpoint: {every: 3, keep: 2}}"
    )
    (tmp_path / "two.yaml").write_text("base: base.yaml\ngrid: {seed: [0, 1]}\n")
    sweep = load_sweep(tmp_path / "two.yaml")
    folder = create_sweep(tmp_path, "s", "s", sweep, plan_of(sweep.runs, platform_of(sweep.runs), 1), join=False)
    run_sweep(folder, interrupted=threading.Event())
    metrics = lambda: [same(read_metrics(folder.run_folder(run).metrics)) for run in folder.runs]
    before, program = metrics(), folder.program_folder(0)
    (program / "done.json").unlink()  # killed just before
    newest = max((program / "checkpoints").iterdir(), key=lambda p: int(p.name))
    flip(largest(newest / "state"))
    with pytest.warns(RunWarning, match=rf"{newest.name}: this checkpoint cannot be read: .*; goes back to iteration"):
        run_sweep(open_sweep(tmp_path / "s"), interrupted=threading.Event())
    assert metrics() == before


def test_a_checkpoint_of_another_state_is_no_damage(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for iteration in (1, 2):
        checkpoints.save(iteration, {"server": np.ones(2)}, {"config": {}, "totals": {}})
    checkpoints.go_back()
    assert checkpoints.latest == 2
    checkpoints.close()
