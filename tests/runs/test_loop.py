"""The host's side: records without gaps, and exact resumption."""

import os
import shutil
import signal
import threading

import jax
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic
from short_runs import config, final_state, same

from nigt_jax.config import dump_config
from nigt_jax.errors import UserError
from nigt_jax.records import RunFolder, read_metrics
from nigt_jax.runs import load_policy, train
from nigt_jax.training import stream

COUNTERS = ["iteration", "gradients", "env_steps", "communications", "simulated_time", "wall_time"]


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


def test_progress_tells_what_a_person_wants_to_know(tmp_path):
    seen = []
    train(config(iterations=8), tmp_path, progress=seen.append, environment=Quadratic())
    assert [p["iteration"] for p in seen] == [0, 4, 5, 6, 8]
    assert seen[0]["steps_per_second"] is None
    assert all(p["steps_per_second"] > 0 and p["seconds_left"] >= 0 for p in seen[1:])
    assert seen[-1]["seconds_left"] == 0
    assert "return_mean" in seen[-1]


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


@pytest.mark.slow
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


def test_a_folder_that_cannot_be_that_of_a_run(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: is a file, allowed: the folder of a run, or one"):
        train(config(), tmp_path / "file", environment=Quadratic())
    with pytest.raises(UserError, match=r"typo: no such run folder, so there is nothing to resume"):
        train(config(), tmp_path / "typo", environment=Quadratic(), resume=True)
    assert not (tmp_path / "typo").exists()
