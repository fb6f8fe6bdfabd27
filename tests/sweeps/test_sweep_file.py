"""What a sweep's file means, and what is said about one that means nothing."""

import pytest

from nigt_jax.cli import main
from nigt_jax.errors import UserError
from nigt_jax.sweeps import load_sweep

BASE = "training: {iterations: 5}\nworkers: {count: 3}\n"


def written(tmp_path, text):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "s.yaml").write_text(text)
    return tmp_path / "s.yaml"


def test_every_variant_is_run_with_the_whole_grid(tmp_path):
    text = """
    base: base.yaml
    overrides: {training.budget: 60 gradients, environment.horizon: 20}
    variants:
      rennala: {method.name: rennala_nigt, method.momentum: 0.5, grid: {method.batch_size: [5, 8]}}
      afedpg: {method.name: afedpg, estimator.name: return_to_go}
    grid:
      seed: [3, 1]
      method.learning_rate: [0.03125, 0.5]
    """
    sweep = load_sweep(written(tmp_path, text))
    assert sweep.keys == ("seed", "method.learning_rate", "method.batch_size")
    assert [run.variant for run in sweep.runs] == ["rennala"] * 8 + ["afedpg"] * 4
    assert len({run.name for run in sweep.runs}) == 12
    assert sweep.runs[1].name == "rennala-seed=3-learning_rate=0.03125-batch_size=8"
    assert sweep.runs[-1].point == {"seed": 1, "method.learning_rate": 0.5}
    for run in sweep.runs:
        config = run.config
        assert [str(end) for end in config.training.ends] == ["60 gradients"]  # instead of the base's iterations
        assert (config.environment.horizon, config.workers.count) == (20, 3)
        assert (config.seed, config.method.learning_rate) == (run.point["seed"], run.point["method.learning_rate"])
        if run.variant == "rennala":
            assert (config.method.momentum, config.method.batch_size) == (0.5, run.point["method.batch_size"])


def test_all_variants_are_run_in_every_scenario(tmp_path):
    text = """
    base: base.yaml
    scenarios:
      even: {workers.compute_time.worker_exponent: 0}
      uneven: {workers.compute_time.worker_exponent: 0.5}
    variants: {a: {}, b: {method.momentum: 0.5}}
    grid: {seed: [0, 1]}
    """
    runs = load_sweep(written(tmp_path, text)).runs
    assert [(run.scenario, run.variant) for run in runs[::2]] == [
        ("even", "a"), ("even", "b"), ("uneven", "a"), ("uneven", "b"),
    ]  # fmt: skip
    assert runs[-1].name == "uneven-b-seed=1"
    assert {run.config.workers.compute_time.worker_exponent for run in runs[4:]} == {0.5}


def test_a_sweep_of_one(tmp_path):
    (run,) = load_sweep(written(tmp_path, "base: base.yaml")).runs
    assert (run.name, run.variant, run.point) == ("s", "s", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid: {seed: [1]}", r"base: got None, allowed: the path of a configuration"),
        ("base: base.yaml\nvariant: {}", r"unknown key variant, allowed: base, overrides, scenarios, variants, grid"),
        ("base: other.yaml", r"other.yaml: cannot be read"),
        ("base: base.yaml\ngrid: {seed: 3}", r"grid.seed: got 3, allowed: a list of values"),
        ("base: base.yaml\ngrid: {seed: []}", r"grid.seed: got \[\], allowed: a list of values"),
        ("base: base.yaml\ngrid: {seed: [1, 2, 1]}", r"grid.seed: has a value twice"),
        ("base: base.yaml\ngrid: [seed]", r"grid: got \['seed'\], allowed: a mapping"),
        ("base: base.yaml\nvariants: {../x: {}}", r"variants: got '../x', allowed: names of letters"),
        ("base: base.yaml\nvariants: {a: {seed: 1}}\ngrid: {seed: [1, 2]}", r"seed: is in the grid and in a, allowed"),
        ("base: base.yaml\ngrid: {sed: [1, 2]}", r"s-sed=1: unknown key sed; did you mean seed\?"),
        (
            "base: base.yaml\nvariants: {a: {method.name: afedpg}}\ngrid: {method.batch_size: [5]}",
            r"a-batch_size=5: method.batch_size: not a setting of afedpg, allowed with: rennala",
        ),
        (
            "base: base.yaml\ngrid: {method.momentum: [0.5, 1.5]}",
            r"momentum=1.5: method.momentum: got 1.5, all",
        ),
    ],
)
def test_files_that_are_no_sweeps(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=says) as caught:
        load_sweep(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--shard", "3/2", "--name", "x"], "--shard: got 3/2, allowed: K/N with K from 1 to N"),
        (["--shard", "1/2"], "--shard: got it without --name, allowed: the same --name for all of them"),
        (["--resume", "--name", "x"], "--name: not with --resume, which continues a sweep as it was"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, capsys, options, says):
    assert main(["sweep", str(written(tmp_path, "base: base.yaml")), *options]) == 2
    assert capsys.readouterr().err == f"nigt: {says}\n"


def test_a_sweep_and_a_configuration_are_told_apart(tmp_path, capsys):
    path = written(tmp_path, "base: base.yaml\ngrid: {seed: [0, 1]}")
    assert main(["train", str(path), "--dry-run"]) == 2
    assert capsys.readouterr().err.endswith(
        f"is a sweep, allowed: a configuration; to run all of it: nigt sweep {path}\n"
    )
    assert main(["sweep", str(tmp_path / "base.yaml")]) == 2
    assert f"a configuration is run by nigt train {tmp_path / 'base.yaml'}" in capsys.readouterr().err


def test_a_folder_that_is_no_sweep(tmp_path, capsys):
    assert main(["sweep", str(tmp_path), "--resume"]) == 2
    assert "is no folder of a sweep" in capsys.readouterr().err
