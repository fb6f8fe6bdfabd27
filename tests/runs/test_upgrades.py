"""A run goes on in a later version, or says which one has written it."""

import json
import shutil

import jax.numpy as jnp
import pytest
from probes import EndsWhenGood
from resuming import (
    TIMES,
    begun,
    change,
    config,
    go_on,
    recorded,
    refused,
    refused_by_command_line,
)

from nigt_jax.config import load_config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.records import Checkpoints
from nigt_jax.runs import load_policy, train


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
