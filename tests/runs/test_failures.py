"""What goes wrong: the disk, the numbers, the memory, the user's own code. Nothing that was computed is lost."""

import gc
import json
import shutil
import subprocess
import threading

import jax
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic
from short_runs import config, final_state, same

from nigt_jax.errors import RunError, UserError
from nigt_jax.records import Checkpoints, MetricsLog, read_metrics
from nigt_jax.runs import train
from nigt_jax.runtimes import SimulatedRuntime


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for very little."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", place], capture_output=True).returncode:
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", place], check=True)


# What Orbax breaks off in several threads complains when it is let go.
@pytest.mark.filterwarnings("ignore:(?s).*(asyncio|orbax):pytest.PytestUnraisableExceptionWarning")
def test_a_really_full_disk(small_disk):
    cfg, folders = config(checkpoint={"every": 2, "keep": 1}), [small_disk / str(k) for k in range(20)]

    def fill():
        for folder in folders:
            train(cfg, folder, environment=EndsWhenGood())

    with pytest.raises(RunError, match=r"No space left on device"):
        fill()
    gc.collect()  # so that what it left is let go here, and not in another test
    *others, last = [folder for folder in folders if folder.exists()]
    for other in others:
        shutil.rmtree(other)
    subprocess.run(["mount", "-o", "remount,size=10M", small_disk], check=True)
    train(cfg, last, resume=True, environment=EndsWhenGood())
    assert [r["iteration"] for r in read_metrics(last / "metrics.jsonl")] == list(range(13))


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_of_a_line(tmp_path, monkeypatch):
    append, cfg = MetricsLog.append, config(estimator="leave_one_out")

    def full(self, records):
        if records[-1]["iteration"] == 8:
            with self._path.open("a") as file:
                file.write('{"iteration": 6, "grad')  # as much as there was room for
            raise OSError(28, "No space left on device", "metrics.jsonl")
        append(self, records)

    monkeypatch.setattr(MetricsLog, "append", full)
    with pytest.raises(RunError, match=r"No space left on device; the run is whole up to iteration 5.*--resume"):
        train(cfg, tmp_path, environment=EndsWhenGood())
    monkeypatch.setattr(MetricsLog, "append", append)
    train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert [r["iteration"] for r in read_metrics(tmp_path / "metrics.jsonl")] == list(range(13))


def flip(path):
    """Overwrites the middle of a file, with what can be no part of JSON in a word either."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b'"#"#"#"#"' + data[len(data) // 2 + 9 :])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: flip(f / "metrics.jsonl"), r"metrics.jsonl: line \d+ is damaged"),
        (lambda f: (f / "metrics.jsonl").unlink(), "does not hold every iteration from 0 to 12"),
        (lambda f: (f / "metrics.jsonl").write_text("5\n"), "line 1 is damaged"),
        (lambda f: (f / "metrics.jsonl").write_bytes(b"\xff\n"), "line 1 is damaged"),
    ],
)
def test_damage_is_named_and_nothing_is_touched(straight, tmp_path, damage, says):
    cfg, folder, _ = straight
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    damage(run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=says) as caught:
        train(cfg, run, resume=True, environment=EndsWhenGood())
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_checkpoint_of_something_else(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(3, {"a": jax.numpy.ones(2)}, {})
    with pytest.raises(UserError, match=r"3: .* does not hold what this run needs; there is no older one"):
        checkpoints.state({"b": jax.numpy.ones(2)})
    (tmp_path / "3" / "sha256").unlink()  # as when the process was killed before it wrote them
    np.testing.assert_array_equal(checkpoints.state({"a": jax.numpy.zeros(2)})["a"], 1)
    checkpoints.close()


def test_stops_where_numbers_stop_being_finite(tmp_path):
    with pytest.raises(RunError, match=r"are not finite after iteration 1 .*; there is no checkpoint yet"):
        train(config(learning_rate=9e37), tmp_path, environment=Quadratic())
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records
    assert all(np.isfinite(list(r.values())).all() for r in records)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "gradients",
            -12_884_901_882,
            "iteration 7 cannot be right, .*: -12,884,901,882 gradients, .*; the last check",
        ),
        (
            "too_large",
            True,
            "iteration 7 has more than the 1,000,000,000 episodes that .*; the last check",
        ),
    ],
)
def test_stops_at_a_round_that_cannot_be_right(tmp_path, monkeypatch, name, value, says):
    """Whatever has counted wrongly, the round is neither recorded nor kept."""
    run = SimulatedRuntime.run

    def wrong(runtime, state, *limits):
        done = int(state.iteration[0])
        state, metrics = run(runtime, state, *limits)
        right = getattr(metrics, name).astype(np.int64)
        first_wrong = np.arange(done + 1, done + 1 + len(right))[:, None] >= 7
        return state, metrics._replace(**{name: np.where(first_wrong, value, right)})

    monkeypatch.setattr(SimulatedRuntime, "run", wrong)
    with pytest.raises(RunError, match=says):
        train(config(), tmp_path, environment=EndsWhenGood())
    assert [r["iteration"] for r in read_metrics(tmp_path / "metrics.jsonl")] == list(range(7))
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [5, 6]


class TheirError(ConnectionRefusedError):
    """An OSError of the user's own."""


class StopsAnswering(Quadratic):
    """Asks the host in every step, and the host fails one day, while training or while evaluating."""

    def __init__(self, calls):
        self.calls = calls

    def step(self, state, action):
        """The same, once the host has agreed."""
        agreed = jax.pure_callback(self._answer, jax.ShapeDtypeStruct((), jax.numpy.float32), vmap_method="sequential")
        state = super().step(state, action)
        return state._replace(reward=state.reward + agreed)

    def _answer(self):
        self.calls -= 1
        if self.calls < 0:
            raise TheirError("nobody there")
        return np.float32(0)


def fails_at(iteration, error):
    def fail(progress):
        if progress["iteration"] == iteration:
            raise error

    return fail


@pytest.mark.parametrize(
    "error", [BlockingIOError(11, "try again"), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_an_error_of_the_users_own_is_raised_as_it_is_once_all_is_saved(straight, tmp_path, error):
    """So is a second Ctrl-C."""
    cfg, folder, _ = straight
    with pytest.raises(type(error)) as caught:
        train(cfg, tmp_path, progress=fails_at(8, error), environment=EndsWhenGood())
    assert caught.value is error
    assert caught.value.__notes__ == ["the last checkpoint is of iteration 8"]
    train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


def test_a_chunk_that_fails_leaves_what_was_before_it(straight, tmp_path, monkeypatch):
    """The state is used up by the chunk; there is a copy."""
    cfg, folder, _ = straight
    run, calls = SimulatedRuntime.run, []

    def fail(self, state, *limits):
        calls.append(limits)
        after = run(self, state, *limits)
        if len(calls) == 4:
            raise jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 8 bytes.\nmore")
        return after

    monkeypatch.setattr(SimulatedRuntime, "run", fail)
    with pytest.raises(RunError, match=r"too little memory: INTERNAL: Out of .* bytes.; the last checkpoint is of ite"):
        train(cfg, tmp_path, environment=EndsWhenGood())
    monkeypatch.setattr(SimulatedRuntime, "run", run)
    assert (tmp_path / "checkpoints" / "6").is_dir()
    train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))
    (a, _), (b, _) = final_state(cfg, folder), final_state(cfg, tmp_path)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_evaluation_that_fails_is_made_when_the_run_goes_on(straight, tmp_path, monkeypatch):
    cfg, folder, _ = straight
    evaluate, calls = SimulatedRuntime.evaluate, []

    def fail(self, state, asked):
        calls.append(state)
        if len(calls) == 2:
            raise TheirError("nobody there")
        return evaluate(self, state, asked)

    monkeypatch.setattr(SimulatedRuntime, "evaluate", fail)
    with pytest.raises(TheirError):
        train(cfg, tmp_path, environment=EndsWhenGood())
    monkeypatch.setattr(SimulatedRuntime, "evaluate", evaluate)
    assert (tmp_path / "checkpoints" / "6").is_dir()
    train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


@pytest.mark.slow
def test_an_environment_that_fails_on_the_host_is_no_full_disk(tmp_path):
    environment = StopsAnswering(10**9)

    def quit(progress):
        environment.calls = 0 if progress["iteration"] == 4 else environment.calls

    cfg = config(estimator="leave_one_out", training={"iterations": 12, "chunk": 4, "devices": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="TheirError: nobody there") as caught:
        train(cfg, tmp_path, progress=quit, environment=environment)
    assert caught.value.__notes__ == ["the last checkpoint is of iteration 4"]


def test_a_mesh_that_is_missing_is_no_full_disk(tmp_path):
    class Meshless(Quadratic):
        def step(self, state, action):
            (tmp_path / "mesh.stl").read_bytes()
            return super().step(state, action)

    with pytest.raises(FileNotFoundError, match=r"mesh\.stl"):
        train(config(), tmp_path / "run", environment=Meshless())


@pytest.mark.slow
def test_a_second_interruption_while_the_last_checkpoint_is_written(tmp_path, monkeypatch):
    """The first asked the run to stop, which it does by a checkpoint; the second comes in the middle of that."""
    save, told = Checkpoints.save, []

    def interrupted(checkpoints, iteration, state, notes):
        if not told:
            told.append(iteration)
            raise KeyboardInterrupt
        save(checkpoints, iteration, state, notes)

    monkeypatch.setattr(Checkpoints, "save", interrupted)
    stop = threading.Event()
    soon = lambda progress: progress["iteration"] and stop.set()
    with pytest.raises(KeyboardInterrupt) as caught:
        train(config(), tmp_path, environment=Quadratic(), interrupted=stop, progress=soon)
    assert caught.value.__notes__ == [f"the last checkpoint is of iteration {told[0]}"]
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == told
