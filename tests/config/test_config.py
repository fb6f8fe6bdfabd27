"""Files, overrides, and one useful line for every mistake."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from probes import linear_policy
from ruamel.yaml import YAML

from nigt_jax.clocks._build import power_law
from nigt_jax.config import (
    BACKENDS,
    BRAX,
    ESTIMATORS,
    METHODS,
    RUNTIMES,
    SUITES,
    SYSTEMS,
    BraxEnvironment,
    Config,
    check_config,
    converted,
    describe,
    dotted,
    dump_config,
    load_config,
    load_system,
    read_yaml,
    system_of,
    to_dict,
    traced_settings,
)
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.sweeps import load_sweep

CONFIGS = sorted(path for path in (Path(__file__).parents[2] / "configs").rglob("*.yaml") if "paper" not in path.parts)


def load(tmp_path, text="", **overrides):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_config(path, {k.replace("__", "."): v for k, v in overrides.items()})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_configuration_loads(path):
    if "variants" in read_yaml(path):
        assert all(isinstance(run.config, Config) for run in load_sweep(path).runs)
    elif (system := system_of(path)) is not None:
        assert type(load_system(path)) is system
    else:
        assert isinstance(load_config(path), Config)


def test_there_are_shipped_configurations():
    assert {"default", "quick", *SYSTEMS} <= {p.stem for p in CONFIGS}


def test_the_dump_loads_back_the_same(tmp_path):
    config = load(tmp_path, "method: {learning_rate: 1e-2}\npolicy: {hidden_sizes: [8, 4]}\nworkers: {count: 2}\n")
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert config.method.learning_rate == 0.01
    assert config.policy.hidden_sizes == (8, 4)


def test_an_environment_may_be_a_class(tmp_path):
    for name in ("mine:Env", "package.mine:Outer.Env", "mine:make.<locals>.Env"):
        assert load(tmp_path, environment__name=f"'{name}'").environment.name == name
    (setting,) = (s for s in describe() if s.key == "environment.name")
    assert setting.allowed.endswith("walker2d | module:Class")


def test_overrides_win_over_the_file(tmp_path):
    config = load(tmp_path, "seed: 1\nmethod: {momentum: 0.5}\n", seed="2", method__initial_batch_size="null")
    assert (config.seed, config.method.momentum, config.method.initial_batch_size) == (2, 0.5, None)


@pytest.mark.parametrize(
    ("overrides", "key", "wanted"),
    [
        ({"method.learning_rate": 0.05}, "learning_rate", 0.05),
        ({"method.learning_rate": "0.05"}, "learning_rate", 0.05),
        ({"method.learning_rate": np.float32(0.25)}, "learning_rate", 0.25),
        ({"method.batch_size": np.int64(7)}, "batch_size", 7),
        ({"method.initial_batch_size": None}, "initial_batch_size", None),
        ({"method": {"learning_rate": 0.05, "momentum": 0.5}}, "learning_rate", 0.05),
        ({"method": "{learning_rate: 0.05}"}, "learning_rate", 0.05),
        ({"method": {}}, "learning_rate", 0.5),
    ],
)
def test_overrides_in_python_are_values(tmp_path, overrides, key, wanted):
    path = tmp_path / "c.yaml"
    path.write_text("method: {name: malenia_nigt, learning_rate: 0.5, initial_batch_size: 3}\n")
    method = load_config(str(path), overrides).method
    assert getattr(method, key) == wanted
    assert method.name == "malenia_nigt"  # what an override does not name stays


@pytest.mark.parametrize("sizes", [[8, 4], (8, 4), np.array([8, 4]), "[8, 4]"], ids=lambda x: type(x).__name__)
def test_overrides_that_are_lists(sizes):
    overrides = {"policy.hidden_sizes": sizes, "training.compilation_cache": False, "training": {"devices": 2}}
    config = check_config({}, overrides=overrides)
    assert config.policy.hidden_sizes == (8, 4)
    assert (config.training.compilation_cache, config.training.devices) == (False, 2)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"method.learning_rate": {"a": 3}}, "method.learning_rate: got 0.5, expected a mapping"),
        ({"method.momentum": True}, "method.momentum: got True, allowed: a valid number"),
        ({"method.momentum": object}, "method.momentum: got \"<class 'object'>\", allowed: a valid number"),
        ({1: 2}, "overrides: got {1: 2}, allowed: a mapping from dotted keys to values"),
        (["method.momentum=0.5"], "overrides: got .*, allowed: a mapping from dotted keys to values"),
        ({"metod": {"momentum": 0.5}}, "did you mean method?"),
    ],
)
def test_overrides_that_are_none(overrides, says):
    with pytest.raises(UserError, match=says) as caught:
        check_config({"method": {"learning_rate": 0.5}}, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load(tmp_path) == Config()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("method.learnin_rate", "1", "did you mean method.learning_rate?"),
        ("learning_rate", "1", "did you mean method.learning_rate?"),
        ("metod", "{}", "did you mean method?"),
        ("environment.name", "hoper", "did you mean hopper?"),
        ("environment.name", "atari", "'walker2d'"),
        ("environment.name", "7", "'walker2d' or 'module:Class'"),
        ("environment.name", "'a.b:'", "'module:Class'"),
        ("environment.name", "':C'", "'module:Class'"),
        ("environment.name", "'a:b:C'", "'module:Class'"),
        ("environment.name", "'a b:C'", "'module:Class'"),
        ("environment.backend", "bullet", "'spring', 'positional', 'generalized' or 'mjx'"),
        ("environment.horizon", "0", "greater than or equal to 1"),
        ("environment.horizon", "2.5", "integer"),
        ("method.learning_rate", ".nan", "got nan"),
        ("method.learning_rate", ".inf", "got inf"),
        ("method.learning_rate", "0", "greater than 0"),
        ("method.learning_rate", "fast", "got 'fast'"),
        ("method.learning_rate", "true", "got True"),
        ("method.momentum", "1", "less than or equal to 0.999999"),
        ("method.batch_size", "'20'", "got '20'"),
        ("policy.hidden_sizes", "[]", "at least 1"),
        ("policy.hidden_sizes", "[64, 0]", "policy.hidden_sizes.1: got 0"),
        ("training.devices", "7", "allowed: 1, 2, 4, 5, 10, 20"),
        ("training.devices", "many", "'auto' or a valid integer"),
        ("training.spmd", "pmp", "did you mean pmap?"),
        ("workers.compute_time.values", "[1, 2]", "got 2 times, allowed: one for each of 10 workers"),
        ("workers.compute_time.values", "times.csv", "allowed: a list; a file of recorded times is workers.trace"),
        ("workers.compute_time.values", "3", "allowed: a list, such as [3]; a file of recorded times is workers.trace"),
        ("workers.compute_time.speeds", "[1, 2]", "got 2 speeds, allowed: one for each of 10 workers"),
        ("workers.compute_time.speeds", "times.csv", "allowed: a list; a file of recorded times is workers.trace"),
        ("workers.compute_time.speeds", "[1, 0]", "workers.compute_time.speeds.1: got 0, allowed: greater than 0"),
        ("workers.compute_time.speeds", "[1e31]", "workers.compute_time.speeds.0: got 1e+31, allowed: 1e-30 to 1e+30"),
        ("workers.compute_time.values", "[1e-31]", "workers.compute_time.values.0: got 1e-31, allowed: 1e-30 to 1e+30"),
        (
            "workers.communication_time.values",
            "[1e-37]",
            "workers.communication_time.values.0: got 1e-37, allowed",
        ),
        ("workers.compute_time", "{values: [1], speeds: [1]}", "speeds: got them beside workers.compute_time.values"),
        ("workers.compute_time", "[1, 2]", "allowed: a mapping; a list of times is workers.compute_time.values, one"),
        ("workers.compute_time", "times.csv", "; a file of recorded times is workers.trace"),
        ("workers.communication_time.speeds", "{}", "got a mapping, allowed: a list"),
        ("workers.communication_time", "2", "a list of times is workers.communication_time.values"),
        ("workers.trace", "[1, 2]", "allowed: a string; a list of times is workers.compute_time.values"),
        ("workers.speed", "[1, 2]", "a list of gradients a time unit is workers.compute_time.speeds"),
        ("workers.speeds", "[1, 2]", "did you mean workers.compute_time.speeds?"),
        ("policy.hidden_sizes", "64", "got 64, allowed: a list, such as [64]"),
        ("workers.compute_time.scale", "0", "above 0"),
        ("workers.environments", "[{gravity: 2.0}]", "got a change of no workers, allowed: 1 to 10"),
        ("workers.environments", "[{workers: [11], gravity: 2.0}]", "got worker 11, allowed: 1 to 10"),
        ("workers.speed.changes", "[{workers: [], factor: 2.0}]", "got a change of no workers, allowed: 1 to 10"),
        ("method.batch_size", "1", "at least 2"),
        ("method", "3", "allowed: a mapping"),
        ("seed", "-1", "greater than or equal to 0"),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(tmp_path, key, value, says):
    with pytest.raises(UserError) as caught:
        load(tmp_path, **{key.replace(".", "__"): value})
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    if "did you mean method" not in says:
        assert key.split(".")[-1] in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not YAML at line"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("seed: 1\nseed: 2\n", "duplicate key"),
        ("1: 2\n", "unknown key 1"),
        ("seed: 2026-01-01\n", "seed"),
        ("\x00", "not YAML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        load(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="is a folder"):
        load_config(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        load_config(tmp_path / "binary")


def test_every_setting_is_explained_once():
    keys = [s.key for s in describe()]
    assert len(keys) == len(set(keys))
    tagged = {"method": METHODS, "estimator": ESTIMATORS, "environment": SUITES, "runtime": RUNTIMES}
    kinds = [kind for kinds in tagged.values() for kind in kinds.values()]
    sections = [section for section, kinds in tagged.items() for _ in kinds]
    leaves = {f"{section}.{key}" for section, kind in zip(sections, kinds, strict=True) for key in to_dict(kind())}
    assert set(keys) == leaves | dotted(to_dict(Config())).keys()
    assert all(s.meaning and s.allowed for s in describe())


def test_it_is_said_whose_a_setting_is():
    owners = {s.key: s.owners for s in describe()}
    assert owners["estimator.gae_lambda"] == ("gae",)
    assert owners["method.max_delay"] == ("ringmaster_nigt",)
    assert owners["method.learning_rate"] == ()
    assert "afedpg" in owners["method.momentum"]
    assert not {"rennala_pg", "asynchronous_pg"} & {*owners["method.momentum"]}


def test_a_setting_of_another_method_is_refused_where_it_was_given_beside_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("method: {name: rennala_nigt, batch_size: 7, momentum: 0.5}\n")
    says = "method.batch_size: not a setting of afedpg, allowed with: rennala_nigt, malenia_nigt, "
    with pytest.raises(UserError, match=says):
        load_config(path, {"method.name": "afedpg", "method.batch_size": 3, "estimator.name": "return_to_go"})
    with pytest.raises(UserError, match=r"environment\.backend: not a setting of a:B, allowed with: brax"):
        load_config(path, {"environment": {"name": "a:B", "backend": "mjx"}})


def test_another_method_over_a_file_keeps_what_both_have(tmp_path):
    """A sweep changes nothing but the name; the file's M means nothing to a method without rounds."""
    path = tmp_path / "c.yaml"
    path.write_text("method: {name: rennala_nigt, batch_size: 7, momentum: 0.5}\n")
    method = load_config(path, {"method.name": "afedpg", "estimator.name": "return_to_go"}).method
    assert (method.name, method.momentum, hasattr(method, "batch_size")) == ("afedpg", 0.5, False)


def test_a_file_of_before_names_had_settings_of_their_own_loads(tmp_path):
    """It had every setting of every method; what it set for nothing is said, what is at its default is not."""
    path = tmp_path / "old.yaml"
    path.write_text(
        "environment: {name: 'a:B', backend: spring}\nestimator: {name: return_to_go, gae_lambda: 0.95}\n"
        "method: {name: afedpg, momentum: 0.5, max_delay: 10, batch_size: 50}\n"
    )
    with pytest.warns(RunWarning, match="method.batch_size: not a setting of afedpg, so it is left out") as told:
        config = load_config(path)
    assert len(told) == 1
    assert config.method.momentum == 0.5
    (tmp_path / "run.json").write_text("{}")
    assert load_config(path) == config  # a run's own file; a warning would be an error here


def test_a_file_may_change_another(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "all.yaml").write_text("seed: 3\nmethod: {name: malenia_nigt, momentum: 0.5, batch_size: 9}\n")
    (tmp_path / "below" / "one.yaml").write_text("base: ../all.yaml\nmethod: {batch_size: 4}\n")
    (tmp_path / "two.yaml").write_text("base: below/one.yaml\nmethod: {name: afedpg}\nestimator: {name: gae}\n")
    one, two = load_config(tmp_path / "below" / "one.yaml"), load_config(tmp_path / "two.yaml")
    assert (one.seed, one.method.name, one.method.momentum, one.method.batch_size) == (3, "malenia_nigt", 0.5, 4)
    assert (two.seed, two.method.name, two.method.momentum) == (3, "afedpg", 0.5)
    assert "base" not in dump_config(two)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base: c.yaml\n", "is its own base"),
        ("base: 3\n", "base: got 3, allowed: the path of a YAML file, relative to this one"),
        ("base: none.yaml\n", "none.yaml: cannot be read: No such file"),
    ],
)
def test_bases_that_are_none(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        load(tmp_path, text)


def test_the_short_configuration_is_the_main_job_cut_short():
    default, quick = (load_config(CONFIGS[0].parent / f"{name}.yaml") for name in ("default", "quick"))
    different = {k for k, v in dotted(to_dict(default)).items() if dotted(to_dict(quick))[k] != v}
    assert different == {"training.iterations", "checkpoint.every"}


def test_a_section_becomes_that_of_another_method():
    rennala = check_config({"method": {"momentum": 0.25, "batch_size": 7}}).method
    assert converted(rennala, "ringmaster_nigt") == METHODS["ringmaster_nigt"](momentum=0.25)
    assert converted(rennala, "lapg").batch_size == 7
    assert converted(converted(rennala, "afedpg"), "rennala_nigt").batch_size == 20
    with pytest.raises(KeyError):
        converted(rennala, "gae")


def test_which_settings_runs_of_one_program_may_differ_in():
    section = lambda name: {"method": {"name": name, "trajectories_per_gradient": 2}}
    of = lambda name: {key for key in traced_settings(check_config(section(name))) if "method" in key}
    rate = {"method.learning_rate", "method.learning_rate_half_life"}
    assert of("rennala_pg") == rate | {"method.batch_size", "method.initial_batch_size"}
    noise = {"method.noise_weight", "method.noise_variance"}
    assert of("ringmaster_agnostic_nigt") == rate | {"method.extrapolation"}
    assert of("lapg") == rate | noise | {"method.trigger_weight", "method.max_silence"}


def test_what_weighs_the_newest_gradient():
    averaging = [kind for kind in METHODS.values() if hasattr(kind(), "momentum")]
    assert {kind(momentum=0.75).newest_weight for kind in averaging} == {0.25}
    plain = {name for name, kind in METHODS.items() if kind().newest_weight == 1}
    at_first = {"ringmaster_agnostic_nigt"}
    without = {"rennala_pg", "synchronous_pg", "asynchronous_pg", "lapg", "fednpg_exact", "fednpg_admm", "fedpg_br"}
    assert plain == without | at_first


def test_one_sweep_has_every_method():
    file = Path(__file__).parents[2] / "configs" / "related" / "all.yaml"
    sweep = YAML(typ="safe", pure=True).load(file)
    assert {settings["method.name"] for settings in sweep["variants"].values()} == set(METHODS)


def test_the_catalogue_is_what_there_is():
    from nigt_jax.environments._brax import envs
    from nigt_jax.estimators import make_estimator
    from nigt_jax.methods import METHODS as MADE

    assert {*BRAX, "fast"} == set(envs._envs)
    assert set(METHODS) == set(MADE)
    for name in ESTIMATORS:
        make_estimator(check_config({"estimator": {"name": name}}).estimator, linear_policy())
    assert BACKENDS[0] == "spring"


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        (
            {"method": {"batch_size": 10_000_000, "trajectories_per_gradient": 101}},
            "method.batch_size * method.trajectories_per_gradient: got 1,010,000,000, allowed: up to 1,000,000,000",
        ),
        ({"method": {"initial_batch_size": 2, "batch_size": 1, "trajectories_per_gradient": 500_001}}, None),
        (
            {"method": {"initial_batch_size": 2000, "trajectories_per_gradient": 10**6}},
            "gradient: got 2,000,000,000",
        ),
        ({"method": {"name": "afedpg", "batch_size": 10**7, "trajectories_per_gradient": 1000}}, None),
        (
            {"method": {"name": "afedpg", "trajectories_per_gradient": 10**6}, "environment": {"horizon": 1001}},
            "method.trajectories_per_gradient * environment.horizon: got 1,001,000,000, allowed: up to 1,000,000,000",
        ),
        (
            {"evaluation": {"episodes": 10**6}, "environment": {"horizon": 10**6}},
            "evaluation.episodes * environment.horizon: got 1,000,000,000,000, allowed: up to 1,000,000,000",
        ),
        (
            {"evaluation": {"episodes": 10**6}, "workers": {"environments": [{"workers": [1], "gravity": 2.0}]}},
            "evaluation.episodes * environment.horizon * workers.count: got 2,000,000,000, allowed: up to 1,000",
        ),
    ],
)
def test_what_an_int32_cannot_count_is_refused(sections, says):
    if says is None:
        check_config(sections)
        return
    with pytest.raises(UserError) as caught:
        check_config(sections)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_speeds_are_one_over_times():
    for name in ("compute_time", "communication_time"):
        times = check_config({"workers": {"count": 3, name: {"values": [0.25, 2, 3]}}})
        speeds = check_config({"workers": {"count": 3, name: {"speeds": [4, 0.5, 1 / 3]}}})
        assert power_law(getattr(times.workers, name), 3, 1).tolist() == [0.25, 2, 3]
        assert power_law(getattr(speeds.workers, name), 3, 1).tolist() == [0.25, 2, 3]


def test_defaults_are_finite():
    numbers = [v for v in json.loads(json.dumps(to_dict(Config())))["method"].values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)


def test_nothing_here_imports_jax():
    code = "import sys, nigt_jax.cli; print([m for m in ('jax', 'brax', 'flax', 'optax') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_an_environment_that_one_backend_has():
    """Left out, the backend is one that there is; given, it has to be."""
    assert check_config({"environment": {"name": "swimmer"}}).environment.backend == "generalized"
    assert BraxEnvironment(name="swimmer").backend == "generalized"
    assert BraxEnvironment(name="hopper").backend == "spring"
    with pytest.raises(UserError, match=r"environment\.backend: got mjx, allowed with swimmer: generalized"):
        check_config({"environment": {"name": "swimmer", "backend": "mjx"}})
