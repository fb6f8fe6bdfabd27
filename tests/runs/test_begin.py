"""A run's folder has whatever decides its numbers, and a run goes on only where that is what it was."""

import json
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, State
from resuming import (
    TIMES,
    begun,
    change,
    command_line,
    config,
    go_on,
    recorded,
    refused,
    refused_by_command_line,
    resources,
)

from nigt_jax.cli import main
from nigt_jax.config import load_config
from nigt_jax.environments import difference, probe
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.records import create_run, open_run, read_metrics
from nigt_jax.runs import load_policy, train


class Scaled:
    """Rewards in another unit: the same observations, the same shapes, and other numbers."""

    observation_size = action_size = 1

    def __init__(self, unit=1.0):
        self._unit = unit

    def reset(self, key):
        """A fresh start."""
        return State(0.1 * jax.random.normal(key, (1,)), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        """One move."""
        return State(state.obs + action, self._unit * action[0], state.done)


# The environment.


@pytest.mark.slow
def test_a_run_in_a_given_environment_goes_on_in_another_of_its_class(tmp_path):
    cfg, same = config(), lambda folder: [{**r, "wall_time": 0} for r in read_metrics(folder / "metrics.jsonl")]
    train(cfg, tmp_path / "straight", environment=EndsWhenGood())
    stop = threading.Event()
    stop_after = lambda progress: stop.set() if progress["iteration"] == 3 else None
    train(cfg, tmp_path / "two", environment=EndsWhenGood(), progress=stop_after, interrupted=stop)
    assert load_config(tmp_path / "two" / "config.yaml").environment.name == "probes:EndsWhenGood"
    assert main(["train", str(tmp_path / "two"), "--resume"]) == 0
    assert same(tmp_path / "two") == same(tmp_path / "straight")
    assert recorded(tmp_path / "two")["environment"]["given_as"] == "object"


def test_another_environment_is_noticed(tmp_path, capsys):
    begun(config(), tmp_path, environment=Scaled(2.0))
    says = "is not the environment that the run was made in: after 1 steps of the same actions its reward is"
    assert says in (message := refused(tmp_path))
    assert f"nigt_jax.train(nigt_jax.load_config('{tmp_path}/config.yaml'), '{tmp_path}', resume=True" in message
    assert command_line(tmp_path, capsys) == (2, f"nigt: {message}\n")
    assert says in refused(tmp_path, environment=Scaled(2.001))
    assert says in refused(tmp_path, config(), environment=Scaled())
    assert "its observation is" in refused(tmp_path, environment=Quadratic())
    assert go_on(tmp_path, environment=Scaled(2.0)).interrupted
    assert go_on(tmp_path, config(), environment=Scaled(2.0)).interrupted


def test_an_environment_that_is_forgotten(tmp_path):
    begun(config(), tmp_path, environment=EndsWhenGood())
    message = refused(tmp_path, config())
    assert "environment.name is fast, but the run was made with probes:EndsWhenGood" in message
    assert message.endswith("resume=True, environment=...)")


def test_an_environment_that_cannot_be_made_again(tmp_path, capsys):
    class Local(EndsWhenGood):
        pass

    class Elsewhere(EndsWhenGood):
        pass

    class Wants(EndsWhenGood):
        def __init__(self, needed):
            del needed

    Elsewhere.__module__, Elsewhere.__qualname__ = "no_such_module", "Elsewhere"
    for name, environment, why in (
        ("local", Local(), "test_begin has no test_an_environment_that_cannot_be_made_again.<locals>.Local"),
        ("elsewhere", Elsewhere(), "no_such_module cannot be imported"),
    ):
        folder = tmp_path / name
        begun(config(), folder, environment=environment)
        status, message = command_line(folder, capsys)
        assert (status, message.count("\n")) == (2, 1)
        assert why in message
        assert "resume=True, environment=...)" in message
        assert go_on(folder, environment=environment).interrupted
        assert load_policy(folder).iteration == 0


def test_the_physics_of_a_named_environment_may_change_with_a_version(tmp_path, monkeypatch):
    cfg = config(environment={"name": "fast", "horizon": 4})
    begun(cfg, tmp_path)
    assert recorded(tmp_path)["environment"]["given_as"] == "name"
    (versions,) = recorded(tmp_path)["versions"]
    assert {"nigt_jax", "jax", "jaxlib", "brax", "mujoco"} <= versions["packages"].keys()
    assert go_on(tmp_path).interrupted
    change(tmp_path, versions=[versions | {"packages": versions["packages"] | {"brax": "0.1.2"}}])
    monkeypatch.setattr("nigt_jax.runtimes._simulated.make_environment", lambda section: Scaled())
    message = refused(tmp_path)
    assert "fast is not the environment that the run was made in" in message
    assert f"written with brax 0.1.2 (here {versions['packages']['brax']})" in message
    assert "Python" not in message


def test_a_probe_sees_more_than_rounding():
    device = jax.devices()[0]
    rows = probe(Scaled(), device)
    start = 0.1 * float(jax.random.normal(jax.random.key(0), (1,))[0])
    actions = 0.75 * np.cos([1.0, 3.0])
    places = start + np.concatenate([[0], np.cumsum(actions)])
    wanted = np.stack([places, abs(places), [0, *actions], np.zeros(3)], 1)
    np.testing.assert_allclose(rows, wanted, atol=1e-6)
    assert difference(rows, tuple(tuple(x * (1 + 1e-6) for x in row) for row in rows)) == ""
    assert "its reward" in difference(rows, probe(Scaled(1.01), device))


def test_a_probe_of_what_breaks():
    class Breaks(Scaled):
        def step(self, state, action):
            return State(state.obs * jnp.nan + action, state.reward, state.done)

    rows = probe(Breaks(), jax.devices()[0])
    assert rows[1][:2] == (None, None)
    json.dumps(rows, allow_nan=False)
    assert difference(rows, rows) == ""
    assert "is 1.0, and was None" in difference(rows, (rows[0], (1.0, *rows[1][1:]), rows[2]))


# Recorded times.


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """A run with recorded times that was started beside them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text(TIMES)
    cfg = config(workers={"count": 2, "trace": "times.csv"})
    begun(cfg, tmp_path / "run")
    return cfg, tmp_path / "run"


def test_a_run_keeps_its_own_copy_of_recorded_times(traced, tmp_path, monkeypatch):
    cfg, run = traced
    assert "trace: trace.csv\n" in (run / "config.yaml").read_text()
    assert (run / "trace.csv").read_text() == TIMES
    assert go_on(run, cfg).interrupted
    (tmp_path / "times.csv").write_text(TIMES.replace("2.5", "9.5"))
    assert go_on(run).interrupted
    assert "times.csv: these are not the times that the run began with" in refused(run, cfg)
    (tmp_path / "times.csv").unlink()
    assert "times.csv: cannot be read" in refused(run, cfg)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    run.rename(moved)
    monkeypatch.chdir(moved.parent)
    assert go_on(moved).interrupted
    assert load_config(moved / "config.yaml").workers.trace == str(moved / "trace.csv")
    begun(load_config(moved / "config.yaml"), tmp_path / "again")
    assert (tmp_path / "again" / "trace.csv").read_text() == TIMES


def test_a_copy_that_was_changed(traced, capsys):
    _, run = traced
    (run / "trace.csv").write_text(TIMES.replace("2.5", "2.6"))
    message = refused(run)
    assert "trace.csv: these are not the times that the run began with" in message
    assert command_line(run, capsys) == (2, f"nigt: {message}\n")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("trace: trace.csv", "trace: null"))
    assert "workers.trace is None, but the run was made with trace.csv" in refused(run)
    (run / "config.yaml").write_text(text)
    (run / "trace.csv").unlink()
    assert "trace.csv: cannot be read" in refused_by_command_line(run, capsys)
    assert load_policy(run).iteration == 0


# Where nothing was computed.


def nothing_computed(folder):
    """As after a call that failed, or was killed, before its first checkpoint."""
    shutil.rmtree(folder / "checkpoints")
    (folder / "metrics.jsonl").unlink(missing_ok=True)


def test_where_nothing_was_computed_everything_may_be_mended(traced, tmp_path):
    cfg, run = traced
    nothing_computed(run)
    (tmp_path / "times.csv").write_text(TIMES.replace("2.5", "9.5"))
    before = recorded(run)
    assert go_on(run, cfg, environment=Scaled()).interrupted
    assert (run / "trace.csv").read_text() == (tmp_path / "times.csv").read_text()
    assert recorded(run)["trace"]["sha256"] != before["trace"]["sha256"]
    assert recorded(run)["environment"]["probe"] != before["environment"]["probe"]
    nothing_computed(run)
    assert go_on(run, cfg, environment=Scaled(2.0)).interrupted
    assert "is not the environment" in refused(run, environment=Scaled())


def test_killed_before_run_json(tmp_path):
    folder = create_run(tmp_path, "run", "run", config())
    assert go_on(folder.path).interrupted
    assert resources(folder.path)[0]["devices"] == 2
    folder = create_run(tmp_path, "other", "run", config())
    folder.config.write_text("more: 1\n")
    with pytest.raises(UserError, match="unknown key more") as caught:
        open_run(folder.path)
    assert "version" not in str(caught.value)


def test_files_of_the_user_are_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text(TIMES)
    cfg = config(workers={"count": 2, "trace": "times.csv"})
    for name, text in (("config.yaml", "seed: 1\n"), ("trace.csv", TIMES.replace("2.5", "3")), ("run.json", "{}")):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(UserError, match=r"belongs to no run|is damaged") as caught:
            begun(cfg, folder)
        assert "\n" not in str(caught.value)
        assert str(folder / name) in str(caught.value)
        assert (folder / name).read_text() == text


def test_a_call_that_failed_leaves_nothing_in_the_way(tmp_path, monkeypatch):
    """Recorded times are copied before the environment is looked at; both may be mended."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text(TIMES)
    cfg = config(workers={"count": 2, "trace": "times.csv"})
    with pytest.raises(UserError):
        begun(cfg, tmp_path / "run", environment=object())
    assert not (tmp_path / "run" / "trace.csv").exists()
    (tmp_path / "times.csv").write_text(TIMES.replace("2.5", "3"))
    assert begun(cfg, tmp_path / "run", environment=EndsWhenGood()).interrupted
    nothing_computed(tmp_path / "run")
    assert begun(cfg, tmp_path / "run", environment=Scaled()).interrupted


# Another run from the configuration of one.


def test_another_run_from_one_in_a_given_environment(tmp_path):
    begun(config(), tmp_path / "given", environment=EndsWhenGood())
    begun(config(), tmp_path / "named")
    says = "config.yaml: the environment of this run was given in Python; here probes:EndsWhenGood is made anew"
    with pytest.warns(RunWarning, match=says):
        load_config(tmp_path / "given" / "config.yaml", {})
    load_config(tmp_path / "given" / "config.yaml", {"environment.name": "fast"})
    load_config(tmp_path / "named" / "config.yaml", {})
    assert open_run(tmp_path / "given")[1] == load_config(tmp_path / "given" / "config.yaml")
