"""What a sweep's file means, and what is said about one that means nothing."""

import textwrap
from pathlib import Path

import pytest

from nigt_jax.cli import main
from nigt_jax.environments import make_environment
from nigt_jax.errors import UserError
from nigt_jax.runtimes import sizes_of
from nigt_jax.sweeps import load_sweep, reported_runs

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


PAPER = sorted((Path(__file__).parents[2] / "configs" / "paper").rglob("*.yaml"))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_sweep_is_one(path):
    sweep = load_sweep(path)
    assert sweep.runs
    assert {run.config.evaluation.episodes for run in sweep.runs} == {16}
    if sweep.tuned:  # as many values and the same seeds for all
        tried = {}
        for run in sweep.runs:
            tried.setdefault(run.case, []).append((run.config.seed, run.config.method.learning_rate))
        assert {len(set(values)) for values in tried.values()} == {len(sweep.runs) // len(tried)}
        assert len({tuple(sorted({seed for seed, _ in values})) for values in tried.values()}) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_every_world_of_a_shipped_sweep_can_be_played():
    runs = [run for path in PAPER for run in load_sweep(path).runs if run.config.workers.environments]
    worlds = {f"{run.config.environment} {run.config.workers.environments}": run.config for run in runs}
    assert len(worlds) >= 3
    for config in worlds.values():
        assert sizes_of(config, make_environment(config.environment)).observed > 0


def test_a_world_that_cannot_be_is_refused_before_anything_is_computed(tmp_path, capsys):
    text = """
    base: {environment: {name: fast, horizon: 5}, workers: {count: 2}, training: {platform: cpu}}
    scenarios:
      alike: {}
      different: {workers.environments: [{workers: [2], reward: {forward: -1}}]}
    variants: {rennala: {method.name: rennala_nigt}}
    """
    (tmp_path / "s.yaml").write_text(textwrap.dedent(text))
    assert main(["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "runs")]) == 2
    assert "workers.environments: got reward weight forward" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
@pytest.mark.parametrize("path", PAPER, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_sweep_can_be_run(path, capsys):
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert "program 1" in capsys.readouterr().out


def test_a_sweep_may_begin_with_another_one(tmp_path):
    written(tmp_path, "base: base.yaml\nvariants: {a: {}, b: {method.momentum: 0.5}}\ngrid: {seed: [1, 2]}")
    (tmp_path / "t.yaml").write_text(
        "base: s.yaml\noverrides: {environment.horizon: 7}\nvariants: {a: null, c: {method.momentum: 0.25}}\n"
        "grid: {seed: [5]}\n"
    )
    runs = load_sweep(tmp_path / "t.yaml").runs
    assert [(run.variant, run.config.method.momentum, run.config.seed) for run in runs] == [
        ("b", 0.5, 5),
        ("c", 0.25, 5),
    ]
    assert {run.config.environment.horizon for run in runs} == {7}


TUNED = "base: base.yaml\ngrid: {seed: [1, 2]}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "tune: {method.learning_rate: [0.1]}",
            r"tune: has no seed, allowed: seeds for tuning, and",
        ),
        ("tune: {seed: [7]}", r"tune: has nothing but seeds, allowed: a key with values to choose from"),
        (
            "tune: {seed: [7, 2], method.momentum: [0.1]}",
            r"tune.seed: 2 is in grid.seed too, allowed: seeds",
        ),
        ("tune: {seed: [7], method.momentum: 0.1}", r"tune.method.momentum: got 0.1, allowed: a list of values"),
        ("tune: {seed: [7], method.momentum: [0.1, 1.5]}", r"method.momentum: got 1.5, allowed"),
        (
            "tune: {seed: [7], method.momentum: [0.1]}\nvariants: {a: {tune: {method.momentum: [0.1, 0.2]}}}",
            r"variants.a.tune.method.momentum: got \[0.1, 0.2\], allowed: 1 values, as all have",
        ),
        (
            "tune: {seed: [7], method.momentum: [0.1]}\nvariants: {a: {method.momentum: 0.5}}",
            r"method.momentum: is in tune and in a, allowed: one of both",
        ),
    ],
)
def test_tuning_that_is_none(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        load_sweep(written(tmp_path, TUNED + text))


def test_a_variant_tunes_only_what_is_tuned(tmp_path):
    text = "base: base.yaml\nvariants: {a: {tune: {method.momentum: [0.1]}}}\ngrid: {seed: [1]}"
    with pytest.raises(UserError, match=r"variants.a.tune.method.momentum: got \[0.1\], allowed: no tuning"):
        load_sweep(written(tmp_path, text))


def test_a_sweep_is_no_base_of_itself(tmp_path):
    with pytest.raises(UserError, match=r"base: is a base of itself"):
        load_sweep(written(tmp_path, "base: s.yaml\ngrid: {seed: [1]}"))


def test_what_is_tuned_is_tried_for_every_case(tmp_path):
    text = """
    base: base.yaml
    variants:
      rennala: {method.name: rennala_nigt, grid: {method.batch_size: [5, 8]}}
      afedpg: {method.name: afedpg, estimator.name: return_to_go}
    tune: {method.learning_rate: [0.1, 0.2], seed: [7]}
    grid: {seed: [0, 1]}
    """
    sweep = load_sweep(written(tmp_path, text))
    assert sweep.tuned == ("method.learning_rate",)
    assert sweep.reported == 6
    assert {run.case for run in sweep.runs} == {"rennala-batch_size=5", "rennala-batch_size=8", "afedpg"}
    assert {(run.case, run.point["method.learning_rate"], run.config.seed) for run in sweep.runs} == {
        (case, rate, 7) for case in ("rennala-batch_size=5", "rennala-batch_size=8", "afedpg") for rate in (0.1, 0.2)
    }
    chosen = {case: {"method.learning_rate": 0.2} for case in ("rennala-batch_size=5", "rennala-batch_size=8")}
    reported = reported_runs(sweep, chosen | {"afedpg": {"method.learning_rate": 0.1}})
    assert {(run.variant, run.config.method.learning_rate) for run in reported} == {("rennala", 0.2), ("afedpg", 0.1)}
    assert {run.config.seed for run in reported} == {0, 1}
    assert not {run.name for run in reported} & {run.name for run in sweep.runs}
