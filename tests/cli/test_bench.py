"""The command as a user types it."""

import json

import jax
import pytest

from nigt_jax.benchmark._measure import _use_cache, without_cache
from nigt_jax.benchmark._profile import _PURPOSES, _operations
from nigt_jax.cli import main

TINY = (
    "--environment.name", "fast", "--environment.horizon", "7", "--method.batch_size", "12", "--training.lanes", "3",
    "--training.devices", "2", "--training.platform", "cpu", "--policy.hidden_sizes", "[8]",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none.yaml",), "none.yaml: cannot be read"),
        (("--turns", "0"), "--turns: got 0, allowed: 1 to 10000"),
        (("--method.batch_size", "0"), "method.batch_size: got 0"),
        (("--method.nmae", "afedpg"), "did you mean --method.name?"),
        (("--json", "nowhere/figures.json"), "--json: got nowhere/figures.json, but there is no folder nowhere"),
        (("--accelerator", "--turns", "3"), "--turns: not with --accelerator"),
        (("--accelerator", "--method.batch_size", "3"), "--method.batch_size: not with --accelerator"),
        (("--compare", "a.json"), "--compare: got 1 files, allowed: 2 to 26"),
        (("--compare", "a.json", "b.json"), "--compare: a.json: cannot be read"),
        (("--compare", "a.json", "b.json", "--json", "c.json"), "--json: not with --compare"),
        (
            ("--method.name", "afedpg", "--estimator.name", "return_to_go"),
            "method.name: got afedpg, whose rounds have other stages, allowed: rennala_nigt, malenia_nigt, ",
        ),
    ],
)
def test_mistakes(arguments, says, capsys):
    assert main(["bench", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_file_that_the_measurement_misses_is_not_one_that_cannot_be_written(tmp_path, monkeypatch):
    def misses(*_):
        raise FileNotFoundError(2, "No such file or directory", "model.xml")

    monkeypatch.setattr("nigt_jax.benchmark.measure", misses)
    with pytest.raises(FileNotFoundError, match="No such file"):
        main(["bench", *TINY, "--json", str(tmp_path / "figures.json")])


def test_figures_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nigt_jax.benchmark.measure", lambda *_: None)
    monkeypatch.setattr("nigt_jax.benchmark.to_json", lambda report: "{}")
    monkeypatch.setattr("nigt_jax.report.show_benchmark", lambda console, report: None)
    (tmp_path / "figures.json").mkdir()
    assert main(["bench", *TINY, "--json", str(tmp_path / "figures.json")]) == 1
    assert "figures.json.new: cannot be written: Is a directory" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits
def test_a_whole_bench(tmp_path, capsys):
    file, trace = tmp_path / "figures.json", tmp_path / "trace"
    assert main(["bench", *TINY, "--turns", "2", "--json", str(file), "--profile", str(trace)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(file.read_text())
    stages = {row["stage"]: row for row in found["stages"]}
    assert list(stages) == ["physics", "+ policy", "+ queue", "+ storage", "+ gradient", "+ communication", "+ update"]
    # Every stage is shown once its program is compiled, before the next one is, and again in the table.
    shown = [line.strip().split("  ")[0] for line in out.splitlines() if "at first" in line or line.startswith("comp")]
    assert shown[:-1] == [
        *("compiling physics, + policy ...", "physics", "+ policy", "compiling + queue ...", "+ queue"),
        "compiling + storage, + gradient, + communication, + update ...",
        *("+ storage", "+ gradient", "+ communication", "+ update"),
    ]
    assert all(out.count(f"{name}  ") >= 2 for name in stages)
    assert "with physics" in out
    programs = {tuple(program["stages"]): program["seconds"] for program in found["programs"]}
    assert [stage for shared in programs for stage in shared] == list(stages)
    assert all(seconds > 0 for seconds in programs.values())
    # Lanes that never end make every step; "fast" always has episodes of full length, two for each of three lanes.
    assert stages["physics"]["useful_steps"] == 3 * 2 * 3 * 7  # of three rounds
    for name in ("+ queue", "+ storage", "+ gradient", "+ communication", "+ update"):
        assert stages[name]["useful_steps"] == stages[name]["computed_steps"] == 3 * 12 * 7
    assert all(len(row["seconds"]) == 2 and row["useful_steps_per_second"] > 0 for row in stages.values())
    assert found["setting"]["episodes_per_lane"] == 2
    assert found["machine"]["devices"] == 2
    assert any(path.is_file() for path in trace.rglob("*"))
    purposes = {part["name"]: part for part in found["profile"]["purposes"]}
    assert purposes.keys() >= set(_PURPOSES) - {"reset"}  # that of "fast" is constant
    assert all(part["operations"] > 0 and name in out for name, part in purposes.items())
    # Two episodes in turn in each lane, each of seven steps at most: all of them fit in a trace.
    assert (found["profile"]["horizon"], found["profile"]["computed_steps"]) == (7, 12 * 7)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["6", "12"])
def test_a_trace_has_few_steps_however_long_episodes_may_be(block, tmp_path, capsys):
    """Nor into how many blocks memory divides the round."""
    file, long = tmp_path / "figures.json", [x if x != "7" else "1000" for x in TINY]
    more = ("--training.block", block, "--turns", "1", "--json", str(file), "--profile", str(tmp_path / "trace"))
    assert main(["bench", *long, *more]) == 0
    seen = json.loads(file.read_text())["profile"]
    assert (seen["horizon"], seen["computed_steps"]) == (32, 12 * 32)
    assert "cut after 32 steps" in capsys.readouterr().out


def test_what_operations_are_for():
    """The innermost scope; without one, what most of the computation is for; what holds others is none."""
    text = """
HloModule jit_f

%body (p: (f32[2])) -> (f32[2]) {
  %p = (f32[2]{0}) parameter(0)
  %sin.1 = f32[2]{0} sine(%x), metadata={op_name="jit(f)/queue/while/body/physics/sin" stack_frame_id=3}
  %tanh.2 = f32[2]{0} tanh(%sin.1), metadata={op_name="jit(f)/queue/while/body/vmap(physics)/tanh"}
  %add.3 = f32[2]{0} add(%x, %x), metadata={op_name="jit(f)/queue/while/body/add"}
  ROOT %copy.4 = f32[2]{0} copy(%tanh.2)
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %while.5 = (f32[2]{0}) while(%x), condition=%cond, body=%body, metadata={op_name="jit(f)/queue/while"}
  ROOT %neg.6 = f32[2]{0} negate(%x), metadata={op_name="jit(f)/neg"}
}
"""
    found = _operations(text)
    assert "while.5" not in found
    assert found["sin.1"] == found["tanh.2"] == found["copy.4"] == "physics"
    assert (found["add.3"], found["neg.6"]) == ("queue", "other")


def _keep_in(folder, seconds):
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    _use_cache(True)


@pytest.fixture
def cache(tmp_path):
    """A cache of compiled programs for this test alone, which keeps all of them."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    _keep_in(str(tmp_path), 0.0)
    yield tmp_path
    _keep_in(*before)


def test_stages_are_compiled_without_a_cache(cache):
    compiled = lambda number: jax.jit(lambda x: x + number).lower(1.0).compile()
    compiled(1)
    kept = len(list(cache.iterdir()))
    assert kept > 0
    with without_cache():
        compiled(2)
        assert len(list(cache.iterdir())) == kept
    compiled(3)
    assert len(list(cache.iterdir())) > kept
