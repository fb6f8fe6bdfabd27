"""A run's folder has whatever decides its numbers, and a run goes on only where that is what it was."""

import json
import os
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, State

from nigt_jax.cli import main
from nigt_jax.config import check_config, load_config, to_dict
from nigt_jax.environments import difference, probe
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.records import Checkpoints, create_run, open_run, read_metrics
from nigt_jax.runs import load_policy, train
from nigt_jax.runtimes import _devices


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


def config(iterations=6, method=None, **sections):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": "return_to_go"},
            "method": {"batch_size": 4, "learning_rate": 0.1, **(method or {})},
            "training": {"iterations": iterations, "chunk": 3, "devices": 2},
            "evaluation": {"every": 3, "episodes": 4},
            "checkpoint": {"every": 3, "keep": 2},
        }
        | sections
    )


def begun(cfg, folder, **options):
    """A run that is told to stop before its first round: a folder with everything in it, and nothing was compiled."""
    stop = threading.Event()
    stop.set()
    return train(cfg, folder, interrupted=stop, **options)


def go_on(folder, cfg=None, **options):
    """Up to where the first round would be."""
    return begun(load_config(folder / "config.yaml") if cfg is None else cfg, folder, resume=True, **options)


def changed(folder, **overrides):
    """The run's configuration with other settings."""
    return check_config(to_dict(load_config(folder / "config.yaml")), overrides=overrides)


def refused(folder, cfg=None, **options):
    """The one line that a resume is refused with; it touches nothing."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(UserError) as caught:
        go_on(folder, cfg, **options)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def recorded(folder):
    return json.loads((folder / "run.json").read_text())


def change(folder, **changes):
    (folder / "run.json").write_text(json.dumps(recorded(folder) | changes))


def command_line(folder, capsys):
    """Exit status and messages of `nigt train RUN --resume`."""
    status = main(["train", str(folder), "--resume"])
    return status, capsys.readouterr().err


# The environment.


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

TIMES = "worker,duration\n1,1.0\n2,2.5\n1,0.5\n"


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


def refused_by_command_line(folder, capsys):
    status, message = command_line(folder, capsys)
    assert (status, message.count("\n")) == (2, 1)
    return message


# Upgrades.


def forget(path, **what):
    """Removes settings, as if they were not known when the file was written."""
    data = json.loads(path.read_text())
    for section, name in what.items():
        del data["config"][section][name]
    path.write_text(json.dumps(data))
    (path.parents[1] / "sha256").unlink()


def test_a_setting_that_was_not_known_has_its_default(tmp_path):
    cfg = config(policy={"hidden_sizes": [8], "min_std": 0.5})
    begun(cfg, tmp_path, environment=EndsWhenGood())
    text = (tmp_path / "config.yaml").read_text()
    assert "  carry_over: false\n" in text
    (tmp_path / "config.yaml").write_text(text.replace("  carry_over: false\n", ""))
    assert go_on(tmp_path).interrupted
    assert (tmp_path / "config.yaml").read_text() == text
    forget(tmp_path / "checkpoints" / "0" / "notes" / "metadata", workers="carry_over")
    assert go_on(tmp_path).interrupted
    (tmp_path / "config.yaml").write_text(text.replace("carry_over: false", "carry_over: true"))
    assert "workers.carry_over is True, but the run was made with False" in refused(tmp_path)
    (tmp_path / "config.yaml").write_text(text.replace("  min_std: 0.5\n", ""))
    assert "policy.min_std is 0.001, but the run was made with 0.5" in refused(tmp_path)


def test_what_cannot_be_read_says_who_wrote_it(tmp_path, capsys):
    begun(config(), tmp_path, environment=EndsWhenGood())
    (versions,) = recorded(tmp_path)["versions"]
    change(tmp_path, versions=[versions | {"packages": versions["packages"] | {"nigt_jax": "0.0.7"}}])
    writer = f"the run was written with nigt_jax 0.0.7 (here {versions['packages']['nigt_jax']})"
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text + "more: {of: this}\n")
    assert "unknown key more" in (message := refused_by_command_line(tmp_path, capsys))
    assert writer in message
    (tmp_path / "config.yaml").write_text(text)
    shutil.rmtree(tmp_path / "checkpoints")
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    checkpoints.save(1, {"server": jnp.ones(2)}, {"config": {"more": 1}, "totals": {}})
    assert (message := refused(tmp_path)).startswith(f"{tmp_path}/checkpoints: unknown key more")
    assert writer in message
    checkpoints.save(
        2, {"server": jnp.ones(2)}, {"config": to_dict(load_config(tmp_path / "config.yaml")), "totals": {}}
    )
    assert "does not hold what this run needs" in (message := refused(tmp_path))
    assert writer in message
    with pytest.raises(UserError, match="holds no policy") as caught:
        load_policy(tmp_path)
    assert writer in str(caught.value)
    checkpoints.close()


def test_formats(tmp_path, capsys):
    begun(config(), tmp_path, environment=EndsWhenGood())
    whole = (tmp_path / "run.json").read_text()
    change(tmp_path, format=7)
    message = f"{tmp_path}/run.json: got format 7, allowed: 1; the run was written with"
    assert refused(tmp_path).startswith(message)
    assert message in refused_by_command_line(tmp_path, capsys)
    with pytest.raises(UserError, match="got format 7"):
        load_policy(tmp_path)
    environment = {"given_as": "object", "probe": [[0.0] * 4] * 2}
    shortened = json.dumps(json.loads(whole) | {"environment": environment})
    narrowed = json.dumps(json.loads(whole) | {"environment": environment | {"probe": [[0.0] * 3] * 3}})
    for damaged in ("{", "[]", '{"format": 1}', shortened, narrowed):
        (tmp_path / "run.json").write_text(damaged)
        assert "run.json: is damaged" in refused(tmp_path)


def test_versions_are_added_where_they_change(tmp_path):
    train(config(iterations=3), tmp_path, environment=EndsWhenGood())
    go_on(tmp_path)
    (now,) = recorded(tmp_path)["versions"]
    old = now | {"packages": now["packages"] | {"jax": "0.0.1"}}
    change(tmp_path, versions=[old])
    go_on(tmp_path)
    assert recorded(tmp_path)["versions"] == [old, now | {"from_iteration": 3}]


def test_a_run_of_before_run_json_goes_on(tmp_path, monkeypatch):
    """Its configuration has resolved numbers, the trace is where it was, and names another environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text(TIMES)
    run, cfg = tmp_path / "run", config(workers={"count": 2, "trace": "times.csv"})
    begun(cfg, run, environment=EndsWhenGood())
    (run / "run.json").unlink()
    (run / "trace.csv").unlink()
    for path in (run / "config.yaml", run / "checkpoints" / "0" / "notes" / "metadata"):
        path.write_text(path.read_text().replace("probes:EndsWhenGood", "fast").replace("trace.csv", "times.csv"))
    (run / "checkpoints" / "0" / "sha256").unlink()
    assert load_policy(run).iteration == 0
    for _ in range(2):  # the second time it has a run.json, and the same checkpoint
        assert go_on(run, environment=EndsWhenGood()).interrupted
        assert (run / "trace.csv").read_text() == TIMES
    assert go_on(run, cfg, environment=EndsWhenGood()).interrupted


@pytest.mark.parametrize("method", ["rennala_nigt", "afedpg"])
def test_a_checkpoint_without_what_later_versions_added_goes_on(tmp_path, monkeypatch, method):
    """A run whose state had no lowest reward, of the server and of the workers, and which had no run.json."""
    save = Checkpoints.save

    def without(tree):
        return {name: leaf for name, leaf in tree._asdict().items() if name != "lowest"}

    def save_as_before(self, iteration, state, notes):
        old = without(state)
        save(self, iteration, old if state.sent == () else old | {"sent": without(state.sent)}, notes)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_as_before)
        begun(config(method={"name": method}), tmp_path, environment=EndsWhenGood())
    (tmp_path / "run.json").unlink()
    assert load_policy(tmp_path).iteration == 0
    assert go_on(tmp_path, environment=EndsWhenGood()).interrupted


def test_a_whole_checkpoint_of_another_state_is_not_to_be_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for iteration in (1, 2):
        checkpoints.save(iteration, {"server": jnp.ones(2)}, {})
    for like in ({"server": jnp.ones(2), "more": jnp.ones(1)}, {"server": jnp.ones(3)}, {}):
        with pytest.raises(UserError, match=r"does not hold what this run needs; .* keep it for the version"):
            checkpoints.state(like, frozenset({"lowest"}))
    state = checkpoints.state({"server": jnp.zeros(2), "lowest": jnp.full(1, 7.0)}, frozenset({"lowest"}))
    assert (state["server"].tolist(), state["lowest"].tolist()) == ([1, 1], [7])
    checkpoints.save(3, state, {})
    assert checkpoints.state(state)["lowest"].tolist() == [7]
    checkpoints.close()


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


# Devices.


def test_settings_that_change_no_numbers_may_change(tmp_path):
    begun(config(), tmp_path, environment=EndsWhenGood())
    go_on(tmp_path, changed(tmp_path, **{"training.compilation_cache": "false", "training.block": "2"}))
    assert "compilation_cache: false\n" in (tmp_path / "config.yaml").read_text()
    assert resources(tmp_path)[1]["block"] == 2
    message = refused(tmp_path, changed(tmp_path, **{"training.chunk": "2"}))
    assert "training.compilation_cache" in message
    assert message.endswith("training.block unless the estimator compares the episodes of a block")


def resources(folder):
    return recorded(folder)["asked"], recorded(folder)["resolved"]


def with_devices(folder, devices):
    return changed(folder, **{"training.devices": str(devices)})


def test_what_was_asked_for_is_apart_from_what_it_became(tmp_path):
    cfg = config(training={"iterations": 6, "lanes": 50})
    begun(cfg, tmp_path, environment=EndsWhenGood())
    asked = {"devices": "auto", "lanes": 50, "block": "auto"}
    assert resources(tmp_path) == (asked, {"devices": 4, "lanes": 1, "block": 4})
    text = (tmp_path / "config.yaml").read_text()
    assert "devices: 4\n" in text
    for given in (None, cfg):
        go_on(tmp_path, given, environment=EndsWhenGood())
        assert (tmp_path / "config.yaml").read_text() == text
    go_on(tmp_path, with_devices(tmp_path, 2))  # lanes are again as many as there are episodes
    assert resources(tmp_path) == (asked | {"devices": 2}, {"devices": 2, "lanes": 2, "block": 4})
    go_on(tmp_path, with_devices(tmp_path, "auto"))
    assert resources(tmp_path) == (asked, {"devices": 4, "lanes": 1, "block": 4})


def test_another_number_of_devices_where_gradients_arrive(tmp_path):
    """A critic learns after each gradient, whatever the block (test_arrivals)."""
    cfg = config(method={"name": "afedpg"}, estimator={"name": "gae"})
    begun(cfg, tmp_path, environment=EndsWhenGood())
    assert recorded(tmp_path)["resolved"]["block"] == 10  # of ten workers
    go_on(tmp_path, with_devices(tmp_path, 4))
    assert recorded(tmp_path)["resolved"]["block"] == 12
    go_on(tmp_path, with_devices(tmp_path, 2))
    assert recorded(tmp_path)["resolved"]["block"] == 10


def test_a_block_stays_what_it_was_where_episodes_are_compared(tmp_path):
    """20 episodes in blocks of 10: on 4 devices they would be blocks of 12."""
    training = {"iterations": 6, "devices": 2, "block": 13}
    for estimator in ("leave_one_out", "return_to_go"):
        folder = tmp_path / estimator
        cfg = config(method={"batch_size": 20}, training=training, estimator={"name": estimator})
        begun(cfg, folder, environment=EndsWhenGood())
        assert resources(folder)[0]["block"] == 13
        assert resources(folder)[1]["block"] == 10
    message = refused(tmp_path / "leave_one_out", with_devices(tmp_path / "leave_one_out", 4))
    assert "training.devices: got 4, which would compute 12 episodes together; the run was made with 10" in message
    assert message.endswith("leave_one_out compares them; allowed: 1, 2, 5, 10")
    go_on(tmp_path / "leave_one_out", with_devices(tmp_path / "leave_one_out", 5))
    assert resources(tmp_path / "leave_one_out")[1] == {"devices": 5, "lanes": 2, "block": 10}
    go_on(tmp_path / "return_to_go", with_devices(tmp_path / "return_to_go", 4))
    assert resources(tmp_path / "return_to_go")[1]["block"] == 12
    other = changed(tmp_path / "leave_one_out", **{"training.block": "4"})
    assert "training.block is 5, but the run was made with 10" in refused(tmp_path / "leave_one_out", other)


@pytest.fixture
def one_device(monkeypatch):
    """As in a notebook where JAX was used before, on a machine with two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(_devices, "devices_of", lambda kind: jax.devices("cpu")[:1])


def test_fewer_devices_than_a_run_had(tmp_path, request):
    begun(config(training={"iterations": 6}), tmp_path / "auto", environment=EndsWhenGood())
    begun(config(), tmp_path / "two", environment=EndsWhenGood())
    request.getfixturevalue("one_device")
    says = "the run had 4 devices and goes on with 1, .*; a CPU is one device unless .*_devices', 4"
    with pytest.warns(RunWarning, match=says):
        go_on(tmp_path / "auto")
    assert resources(tmp_path / "auto")[0]["devices"] == "auto"
    assert resources(tmp_path / "auto")[1] == {"devices": 1, "lanes": 4, "block": 4}
    message = refused(tmp_path / "two")
    assert "training.devices: got 2, but there are 1 cpu devices; a CPU is one device unless" in message
    go_on(tmp_path / "two", with_devices(tmp_path / "two", 1))
    assert resources(tmp_path / "two")[0]["devices"] == 1


@pytest.mark.usefixtures("one_device")
def test_fewer_devices_than_cores(tmp_path, monkeypatch):
    with pytest.warns(RunWarning, match="the run has 1 of 2 possible devices; a CPU is one device unless"):
        begun(config(training={"iterations": 6}), tmp_path / "a", environment=EndsWhenGood())
    begun(config(training={"iterations": 6, "devices": 1}), tmp_path / "b", environment=EndsWhenGood())
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    begun(config(training={"iterations": 6}), tmp_path / "c", environment=EndsWhenGood())  # as its user wants it


NOTEBOOK = """
import os, sys, threading, warnings, jax
os.sched_getaffinity = lambda process: {0, 1}
jax.config.update("jax_platforms", "cpu")
jax.numpy.ones(3).block_until_ready()
import nigt_jax
from pathlib import Path
stop = threading.Event()
stop.set()
warnings.simplefilter("always")
run, new = map(Path, sys.argv[1:])
config = nigt_jax.load_config(run / "config.yaml", {"training.devices": "auto"})
nigt_jax.train(nigt_jax.load_config(run / "config.yaml"), run, resume=True, interrupted=stop)
nigt_jax.train(config, new, interrupted=stop)
"""


def test_in_a_notebook_where_jax_was_used_before(tmp_path):
    cfg = config(training={"iterations": 6})
    begun(cfg, tmp_path / "run")
    arguments = [sys.executable, "-c", NOTEBOOK, str(tmp_path / "run"), str(tmp_path / "new")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "RunWarning: the run had 4 devices and goes on with 1, " in done.stderr
    assert "RunWarning: the run has 1 of 2 possible devices; a CPU is one device unless" in done.stderr
