"""The host's side: records without gaps, exact resumption, and what happens when things go wrong."""

import gc
import json
import os
import shutil
import signal
import subprocess
import threading

import jax
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic

from nigt_jax.config import check_config, dump_config
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import Checkpoints, MetricsLog, RunFolder, read_metrics
from nigt_jax.runs import load_policy, train
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training import stream

COUNTERS = ["iteration", "gradients", "env_steps", "communications", "simulated_time", "wall_time"]


def config(estimator="gae", iterations=12, learning_rate=0.1, **sections):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator},
            "method": {"batch_size": 4, "initial_batch_size": 6, "learning_rate": learning_rate},
            "training": {"iterations": iterations, "chunk": 4, "devices": 2},
            "evaluation": {"every": 6, "episodes": 4},
            "checkpoint": {"every": 5, "keep": 2},
        }
        | sections
    )


def same(records):
    """What has to be equal in two runs: everything but how long they took."""
    return [{k: v for k, v in r.items() if k != "wall_time"} for r in records]


def final_state(cfg, folder):
    checkpoints = Checkpoints(folder / "checkpoints", cfg.checkpoint.keep)
    state, notes = checkpoints.state(SimulatedRuntime(cfg, EndsWhenGood()).initial_state()), checkpoints.notes()
    assert checkpoints.latest == cfg.training.iterations
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(state)], notes["totals"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    return config(), folder, train(config(), folder, environment=EndsWhenGood())


def test_records(straight):
    _, folder, summary = straight
    records = read_metrics(folder / "metrics.jsonl")
    assert [r["iteration"] for r in records] == list(range(13))
    assert [r["iteration"] for r in records if "return_mean" in r] == [0, 6, 12]
    assert all(name in r for r in records for name in COUNTERS)
    for name in COUNTERS:
        assert (np.diff([r[name] for r in records]) > 0).all()
    assert [r["gradients"] for r in records[:4]] == [0, 6, 10, 14]
    assert records[-1]["communications"] == 12
    assert summary.totals.env_steps == records[-1]["env_steps"]
    assert summary.simulated_time == records[-1]["simulated_time"]
    assert summary.first_evaluation == records[0]
    assert summary.last_evaluation == records[-1]
    assert sorted(int(p.name) for p in (folder / "checkpoints").iterdir()) == [10, 12]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_interrupted_and_resumed_is_the_same_run(straight, tmp_path, number):
    cfg, folder, _ = straight
    before = signal.getsignal(number)

    def interrupt(progress):
        if progress["iteration"] == 8:
            os.kill(os.getpid(), number)

    summary = train(cfg, tmp_path, progress=interrupt, environment=EndsWhenGood())
    assert summary.interrupted
    assert summary.iteration == 8
    assert signal.getsignal(number) == before
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 9
    resumed = train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert not resumed.interrupted
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))
    (a, totals_a), (b, totals_b) = final_state(cfg, folder), final_state(cfg, tmp_path)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    assert totals_a | {"wall_time": 0} == totals_b | {"wall_time": 0}
    assert totals_b["wall_time"] == pytest.approx(read_metrics(tmp_path / "metrics.jsonl")[-1]["wall_time"], abs=1e-5)


def test_killed_between_checkpoints(straight, tmp_path):
    """As after SIGKILL: records beyond the newest checkpoint, the last of them torn."""
    cfg, folder, _ = straight
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "12")
    text = (folder / "metrics.jsonl").read_text()
    (tmp_path / "run" / "metrics.jsonl").write_text(text[:-30])
    train(cfg, tmp_path / "run", resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "run" / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


def test_the_trained_policy_is_the_iterate(straight):
    cfg, folder, summary = straight
    trained = load_policy(folder)
    assert trained.iteration == 12
    play = jax.vmap(lambda key: rollout_returns(trained, key))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(stream(cfg.evaluation.seed, "evaluation"), np.arange(4))
    assert float(play(keys).mean()) == pytest.approx(summary.last_evaluation["return_mean"], rel=1e-4)
    observation = jax.numpy.ones((1,))
    draws = jax.vmap(trained.act, (None, 0))(observation, jax.random.split(keys[0], 4000))
    assert abs(float(jax.numpy.median(draws)) - float(trained.mode(observation)[0])) < 0.05


def rollout_returns(trained, key):
    """Undiscounted return of one episode, from nothing but `act`."""
    reset_key, action_key = jax.random.split(key)
    state, total = EndsWhenGood().reset(reset_key), jax.numpy.zeros(())
    for t in range(4):
        alive = state.done == 0
        state = EndsWhenGood().step(state, trained.act(state.obs, jax.random.fold_in(action_key, t)))
        total += jax.numpy.where(alive, state.reward, 0)
    return total


def test_a_run_without_a_checkpoint_has_no_policy(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config()))
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_policy(tmp_path)


def test_resuming_what_is_done_changes_nothing(straight):
    cfg, folder, _ = straight
    before = (folder / "metrics.jsonl").read_text()
    summary = train(cfg, folder, resume=True, environment=EndsWhenGood())
    assert summary.iteration == 12
    assert (folder / "metrics.jsonl").read_text() == before


def test_resuming_before_the_first_checkpoint_starts_over(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config(iterations=2)))
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 0}\n{"iteration": 1}\n')
    train(config(iterations=2), tmp_path, resume=True, environment=Quadratic())
    assert [r["iteration"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1, 2]


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
    """Overwrites the middle of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"#" * 9 + data[len(data) // 2 + 9 :])


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: flip(f / "metrics.jsonl"), r"metrics.jsonl: line \d+ is damaged"),
        (lambda f: (f / "metrics.jsonl").unlink(), "does not hold every iteration from 0 to 12"),
        (lambda f: (f / "metrics.jsonl").write_text("5\n"), "line 1 is damaged"),
        (lambda f: (f / "metrics.jsonl").write_bytes(b"\xff\n"), "line 1 is damaged"),
        (
            lambda f: largest_file(f / "checkpoints" / "12" / "state").write_text(""),
            "is not as it was written.*iteration 10",
        ),
        (lambda f: largest_file(f / "checkpoints" / "12" / "state").unlink(), "is not as it was written"),
        (lambda f: flip(largest_file(f / "checkpoints" / "12" / "state")), "is not as it was written"),
        (lambda f: largest_file(f / "checkpoints" / "12" / "notes").write_text("["), "is not as it was written"),
        (lambda f: flip(f / "checkpoints" / "12" / "sha256"), "is not as it was written"),
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


def test_a_changed_configuration_is_not_resumed_but_a_longer_one_is(straight, tmp_path):
    _, folder, _ = straight
    shutil.copytree(folder, tmp_path / "run")
    with pytest.raises(UserError, match=r"estimator.name is leave_one_out, but the run was made with gae"):
        train(config(estimator="leave_one_out"), tmp_path / "run", resume=True, environment=EndsWhenGood())
    longer = train(config(iterations=14), tmp_path / "run", resume=True, environment=EndsWhenGood())
    assert longer.iteration == 14


def test_one_folder_one_run(straight):
    cfg, folder, _ = straight
    with pytest.raises(UserError, match="holds a run already"):
        train(cfg, folder, environment=EndsWhenGood())
    with RunFolder(folder).claimed(), pytest.raises(UserError, match="another process"):
        train(cfg, folder, resume=True, environment=EndsWhenGood())


def test_interrupted_before_anything_was_compiled(straight, tmp_path):
    cfg, folder, _ = straight
    event = threading.Event()
    event.set()
    summary = train(cfg, tmp_path / "run", interrupted=event, environment=EndsWhenGood())
    assert summary.interrupted
    assert summary.compile_seconds < 0.1  # nothing was
    assert (tmp_path / "run" / "checkpoints" / "0").is_dir()
    train(cfg, tmp_path / "run", resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "run" / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


def test_stops_where_numbers_stop_being_finite(tmp_path):
    with pytest.raises(RunError, match=r"iteration [123] is not finite; there is no checkpoint yet"):
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

    def wrong(runtime, state, rounds):
        done = int(state.iteration[0])
        state, metrics = run(runtime, state, rounds)
        right = getattr(metrics, name).astype(np.int64)
        first_wrong = np.arange(done + 1, done + 1 + rounds)[:, None] >= 7
        return state, metrics._replace(**{name: np.where(first_wrong, value, right)})

    monkeypatch.setattr(SimulatedRuntime, "run", wrong)
    with pytest.raises(RunError, match=says):
        train(config(), tmp_path, environment=EndsWhenGood())
    assert [r["iteration"] for r in read_metrics(tmp_path / "metrics.jsonl")] == list(range(7))
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [5, 6]


def test_progress_tells_what_a_person_wants_to_know(tmp_path):
    seen = []
    train(config(iterations=8), tmp_path, progress=seen.append, environment=Quadratic())
    assert [p["iteration"] for p in seen] == [0, 4, 5, 6, 8]
    assert seen[0]["steps_per_second"] is None
    assert all(p["steps_per_second"] > 0 and p["seconds_left"] >= 0 for p in seen[1:])
    assert seen[-1]["seconds_left"] == 0
    assert "return_mean" in seen[-1]


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

    def fail(self, state, rounds):
        calls.append(rounds)
        after = run(self, state, rounds)
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

    def fail(self, state):
        calls.append(state)
        if len(calls) == 2:
            raise TheirError("nobody there")
        return evaluate(self, state)

    monkeypatch.setattr(SimulatedRuntime, "evaluate", fail)
    with pytest.raises(TheirError):
        train(cfg, tmp_path, environment=EndsWhenGood())
    monkeypatch.setattr(SimulatedRuntime, "evaluate", evaluate)
    assert (tmp_path / "checkpoints" / "6").is_dir()
    train(cfg, tmp_path, resume=True, environment=EndsWhenGood())
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


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


def test_numbers_of_64_bits_change_nothing(straight, tmp_path):
    cfg, folder, _ = straight
    seen = []
    with jax.enable_x64(True):
        train(
            cfg,
            tmp_path,
            progress=lambda told: seen.append(jax.numpy.ones(1).dtype),
            environment=EndsWhenGood(),
        )
        action = load_policy(tmp_path).mode(jax.numpy.ones(1))
    assert set(seen) == {np.dtype("float64")}  # the user's own code has what the user asked for
    assert np.isfinite(action).all()
    assert same(read_metrics(tmp_path / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


def test_an_environment_made_in_64_bits(tmp_path):
    class Shifted(Quadratic):
        def __init__(self):
            self.by = {"observation": jax.numpy.ones(1)}

        def step(self, state, action):
            state = super().step(state, action)
            return state._replace(obs=jax.lax.mul(state.obs, self.by["observation"]))

    with jax.enable_x64(True):
        environment = Shifted()
        assert environment.by["observation"].dtype == np.float64
        train(config(estimator="leave_one_out", iterations=4), tmp_path, environment=environment)
        assert environment.by["observation"].dtype == np.float64


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


def test_a_folder_that_cannot_be_that_of_a_run(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: is a file, allowed: the folder of a run, or one"):
        train(config(), tmp_path / "file", environment=Quadratic())
    with pytest.raises(UserError, match=r"typo: no such run folder, so there is nothing to resume"):
        train(config(), tmp_path / "typo", environment=Quadratic(), resume=True)
    assert not (tmp_path / "typo").exists()
