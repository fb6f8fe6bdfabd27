"""Runs that start with another one's policy, and runs that go on with another setting."""

import itertools
import json

import jax
import numpy as np
import pytest
from probes import EndsWhenGood
from resuming import config, recorded, refused

import nigt_jax
from nigt_jax.cli import main
from nigt_jax.config import check_config, dump_config, load_config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.records import read_metrics
from nigt_jax.runs import export, load_policy, train


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "run"
    train(config(), folder)
    return folder


def started_with(path, **sections):
    return config(**sections, policy={"hidden_sizes": [8], "start": str(path)})


def returns(folder):
    return {r["iteration"]: r["return_mean"] for r in read_metrics(folder / "metrics.jsonl") if "return_mean" in r}


def test_a_run_starts_where_the_other_one_ended(first, tmp_path):
    """Its first evaluation is the other one's last, and it goes on counting observations."""
    train(started_with(first), tmp_path / "second")
    assert returns(tmp_path / "second")[0] == pytest.approx(returns(first)[6], rel=1e-5)
    counts = [int(load_policy(folder).normalizer.count.lo) for folder in (first, tmp_path / "second")]
    assert counts[1] == 2 * counts[0]
    before, after = (load_policy(folder).model.params for folder in (first, tmp_path / "second"))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_an_exported_policy_starts_the_same_run(first, tmp_path):
    export(first, tmp_path / "policy")
    for name, source in (("of-run", first), ("of-files", tmp_path / "policy")):
        train(started_with(source), tmp_path / name)
    same = lambda folder: [{**r, "wall_time": 0} for r in read_metrics(folder / "metrics.jsonl")]
    assert same(tmp_path / "of-run") == same(tmp_path / "of-files")


def test_it_keeps_what_it_started_with(first, tmp_path):
    """Resumed where the other run is gone, it goes on; its folder may be moved."""
    import shutil

    other = shutil.copytree(first, tmp_path / "other")
    train(started_with(other), tmp_path / "run")
    shutil.rmtree(other)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    assert load_config(moved / "config.yaml").policy.start == str(moved / "start")
    assert main(["train", str(moved), "--resume", "--training.iterations", "9"]) == 0
    assert read_metrics(moved / "metrics.jsonl")[-1]["iteration"] == 9


def test_its_policy_is_like_any_other(first, tmp_path):
    """An argument of jit, and loaded without what the run started with."""
    import shutil

    train(started_with(first), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "start")
    policy = load_policy(tmp_path / "run")
    act = jax.jit(lambda policy, observation: policy.mode(observation))
    shown = np.zeros(policy.policy.observation_size, np.float32)
    np.testing.assert_allclose(act(policy, shown), policy.mode(shown), rtol=1e-6)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"hidden_sizes": [9]}, r"policy.start: .* has hidden_sizes \[8\], allowed for this run: \[9\]"),
        ({"hidden_sizes": [8], "normalize_observations": False}, "has normalize True, allowed for this run: False"),
    ],
)
def test_another_policy_is_refused(first, tmp_path, policy, says):
    with pytest.raises(UserError, match=says):
        train(config(policy=policy | {"start": str(first)}), tmp_path / "run")


def test_what_is_no_policy_is_refused(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text("environment: {name: fast}\npolicy: {start: nowhere}\n")
    assert main(["train", str(path), "--output", str(tmp_path), "--name", "b"]) == 2
    assert (
        f"policy.start: got {tmp_path}/nowhere, which is no folder; allowed: that of a run" in capsys.readouterr().err
    )
    (tmp_path / "nowhere").mkdir()
    assert main(["train", str(path), "--output", str(tmp_path), "--name", "b"]) == 2
    assert "policy.start: " in capsys.readouterr().err
    (tmp_path / "nowhere" / "policy.json").write_text("{}")
    assert main(["train", str(path), "--output", str(tmp_path), "--name", "b", "--dry-run"]) == 2
    assert "policy.json: is damaged, or no description of a policy" in capsys.readouterr().err


def test_it_can_be_checked_beforehand(first, tmp_path, capsys):
    """--dry-run takes a run as its start, as training does; so do sweeps, and evaluations need it no more."""
    path = tmp_path / "a.yaml"
    path.write_text(dump_config(started_with(first)))
    assert main(["train", str(path), "--dry-run"]) == 0
    assert f"start: {first}" in capsys.readouterr().out
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("base: a.yaml\ngrid: {seed: [0, 1]}\n")
    assert main(["sweep", str(sweep), "--output", str(tmp_path), "--name", "s"]) == 0
    runs = list((tmp_path / "s" / "runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert returns(run)[0] == pytest.approx(returns(first)[6], rel=1e-5)


def test_an_evaluation_needs_no_start(first, tmp_path):
    import shutil

    train(started_with(first), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "start")
    wanted = returns(tmp_path / "run")[6]
    assert nigt_jax.evaluate(tmp_path / "run")["return_mean"] == pytest.approx(wanted, rel=1e-5)
    train(load_config(tmp_path / "run" / "config.yaml", {"training.iterations": 7}), tmp_path / "run", resume=True)


def test_a_setting_changed_on_resume_is_recorded(tmp_path):
    """From there on the run is one that had the other value from there; before, nothing changes."""
    folder = tmp_path / "run"
    train(config(), folder)
    before = read_metrics(folder / "metrics.jsonl")
    assert recorded(folder)["changes"] == []
    changed = ["--method.learning_rate", "0.5", "--training.iterations", "9"]
    assert main(["train", str(folder), "--resume", *changed]) == 0
    after = read_metrics(folder / "metrics.jsonl")
    assert after[: len(before)] == before
    change = {"from_iteration": 6, "setting": "method.learning_rate", "before": 0.1, "after": 0.5}
    assert recorded(folder)["changes"] == [change]
    assert load_config(folder / "config.yaml").method.learning_rate == 0.5
    assert main(["train", str(folder), "--resume", "--training.iterations", "12"]) == 0
    assert recorded(folder)["changes"] == [change]
    unchanged = tmp_path / "unchanged"
    train(config(9), unchanged)
    moved = [read_metrics(path / "metrics.jsonl")[-1]["query_return_mean"] for path in (folder, unchanged)]
    assert moved[0] != moved[1]


def test_a_run_in_a_given_environment_may_change_too(tmp_path, capsys, recwarn):
    """It is the same run: nothing is made anew, and nobody is warned that it might be."""
    train(config(3), tmp_path / "run", environment=EndsWhenGood())
    assert main(["train", str(tmp_path / "run"), "--resume", "--training.iterations", "6"]) == 0
    assert not [warning for warning in recwarn if "made anew" in str(warning.message)]
    assert "made anew" not in capsys.readouterr().err
    assert recorded(tmp_path / "run")["environment"]["given_as"] == "object"


@pytest.mark.slow
def test_the_steps_are_as_long_as_the_new_setting_says(tmp_path):
    """NIGT moves the iterate by the learning rate, whatever the gradient: 3 rounds by 0.1, then 3 by 0.5."""
    places = []
    for iterations, rate in ((3, 0.1), (4, 0.5), (5, 0.5)):
        cfg = check_config(to_dict(config(iterations)), overrides={"method.learning_rate": rate})
        train(cfg, tmp_path / "run", resume=iterations > 3)
        places.append(load_policy(tmp_path / "run").model.params)
    steps = [jax.tree.map(lambda a, b: a - b, new, old) for old, new in itertools.pairwise(places)]
    lengths = [np.sqrt(sum(float((x**2).sum()) for x in jax.tree.leaves(step))) for step in steps]
    np.testing.assert_allclose(lengths, [0.5, 0.5], rtol=1e-4)


def test_other_settings_are_refused(first, capsys):
    assert "method.momentum is 0.5, but the run was made with" in refused(first, momentum_of(first, 0.5))
    assert main(["train", str(first), "--resume", "--seed", "3"]) == 2
    assert "seed is 3, but the run was made with 0" in capsys.readouterr().err


def momentum_of(folder, value):
    return check_config(to_dict(load_config(folder / "config.yaml")), overrides={"method.momentum": value})


def test_version_one_of_run_json_has_no_changes(first, tmp_path):
    """A run of before they were recorded goes on."""
    import shutil

    folder = shutil.copytree(first, tmp_path / "run")
    old = {key: value for key, value in recorded(folder).items() if key != "changes"}
    (folder / "run.json").write_text(json.dumps(old))
    assert main(["train", str(folder), "--resume", "--training.iterations", "7"]) == 0
    assert nigt_jax.load_policy(folder).iteration == 7


def test_policies_are_handed_out_where_they_are_evaluated(tmp_path):
    """At every evaluation once, also by a run that goes on; each stays what it is."""
    handed = []
    keep = lambda policy, record: handed.append((policy, record))
    train(config(6), tmp_path / "run", policies=keep)
    train(config(9), tmp_path / "run", resume=True, policies=keep)
    assert [int(policy.iteration) for policy, _ in handed] == [0, 3, 6, 9]
    evaluated = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "return_mean" in r]
    assert [record["return_mean"] for _, record in handed] == [r["return_mean"] for r in evaluated]
    for policy, _ in handed[2:]:
        kept = load_policy(tmp_path / "run", iteration=int(policy.iteration)).model.params
        jax.tree.map(np.testing.assert_array_equal, policy.model.params, kept)
