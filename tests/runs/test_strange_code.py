"""Folders from anybody: code that they name is imported only where this user has begun them, or says so."""

import json
import shutil
import sys

import pytest
from resuming import TIMES, begun, config

from nigt_jax import evaluate
from nigt_jax.cli import main
from nigt_jax.errors import UserError
from nigt_jax.records import mark_code, refuse_strange_code
from nigt_jax.report import write_report
from nigt_jax.runs import export, load_policy, record_episode

CODE = "from probes import EndsWhenGood\nopen('imported', 'w').close()\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a module in it that tells when it is imported."""
    (tmp_path / "strange_of_a_test.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("strange_of_a_test", None)


NAMED = config(environment={"name": "strange_of_a_test:EndsWhenGood", "horizon": 4}, iterations=1)


def run_of_a_stranger(here, **sections):
    """A run whose config.yaml names the code, as whoever packed it wanted, and which has no mark of this user."""
    begun(config(**sections), here / "run")
    path = here / "run" / "config.yaml"
    path.write_text(path.read_text().replace("name: fast", "name: strange_of_a_test:EndsWhenGood"))
    return here / "run"


COMMANDS = (
    ("train", "RUN", "--resume"),
    ("train", "RUN/config.yaml", "--dry-run"),
    ("bench", "RUN/config.yaml"),
    ("evaluate", "RUN"),
    ("render", "RUN"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_strangers_code_is_not_imported(here, capsys, command):
    run = run_of_a_stranger(here)
    assert main([word.replace("RUN", str(run)) for word in command]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"nigt: {run}: names code, strange_of_a_test:EndsWhenGood, and nothing shows")
    assert ("allowed: --trust-code" in line, line.count("\n")) == (True, 1)
    assert not (here / "imported").exists()
    assert "strange_of_a_test" not in sys.modules


def test_nor_in_python(here):
    run = run_of_a_stranger(here)
    for call in (evaluate, record_episode):
        with pytest.raises(UserError, match="trust_code=True"):
            call(run)
    assert not (here / "imported").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("randomizer: null", "randomizer: strange_of_a_test:f"),
        ("sinks: []", "sinks: ['strange_of_a_test:Sink']"),
    ],
)
def test_nor_other_code_that_it_names(here, capsys, old, new):
    run = here / "run"
    begun(config(), run)
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))
    assert main(["train", str(run), "--resume"]) == 2
    assert "names code, strange_of_a_test:" in capsys.readouterr().err
    assert not (here / "imported").exists()


def test_what_needs_no_code_imports_none(here):
    """Reports and exports are made of anybody's folders."""
    run = run_of_a_stranger(here)
    load_policy(run)
    export(run, here / "policy")
    record = {"iteration": 0, "gradients": 0, "env_steps": 0, "computed_steps": 0, "simulated_time": 0.0}
    record |= dict.fromkeys(("communications", "uploads", "downloads", "bytes_up", "bytes_down"), 0)
    record |= {"wall_time": 0.0, "return_mean": 0.0, "return_std": 0.0, "gradient_norm": 0.0}
    lines = [record, record | {"iteration": 1}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report([run], here / "report.html")
    assert not (here / "imported").exists()


def test_ones_own_run_goes_on_wherever_it_was_moved(here, capsys):
    """Without any option: the mark beside its configuration is this user's."""
    run = here / "run"
    begun(NAMED, run)
    shutil.move(run, here / "moved")
    assert main(["evaluate", str(here / "moved"), "--episodes", "2"]) == 0, capsys.readouterr().err
    assert main(["train", str(here / "moved"), "--resume"]) == 0, capsys.readouterr().err


def test_it_is_imported_once_the_user_says_so(here, capsys, monkeypatch):
    run = here / "run"
    begun(NAMED, run)
    (run / "code.hmac").unlink()
    assert main(["train", str(run), "--resume"]) == 2
    assert main(["train", str(run), "--resume", "--trust-code"]) == 0, capsys.readouterr().err
    assert main(["train", str(run), "--resume"]) == 0, capsys.readouterr().err  # by now it is this user's
    monkeypatch.setenv("XDG_DATA_HOME", str(here / "another user"))
    assert main(["train", str(run), "--resume"]) == 2


def test_what_options_name_is_the_users_own_word(here, capsys):
    run = here / "run"
    begun(config(), run)
    assert main(["train", str(run), "--resume", "--logging.sinks", "[strange_of_a_test:Sink]"]) == 2
    assert "has no Sink" in capsys.readouterr().err  # it was looked for


def test_a_part_of_what_an_option_says_is_not_named(here, capsys):
    run = here / "run"
    begun(config(), run)
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("sinks: []", "sinks: ['test:Sink']"))
    assert main(["train", str(path), "--dry-run", "--logging.project", "strange_of_a_test:Sink"]) == 2
    assert "names code, test:Sink, and nothing shows" in capsys.readouterr().err


def test_a_mark_is_of_a_user_and_a_name(here, monkeypatch):
    mark_code(here, ["mine:A", "mine:B"])
    refuse_strange_code(here, ["mine:B"], trusted=False)
    refuse_strange_code(here, [], trusted=False)
    with pytest.raises(UserError, match="names code, mine:C, and"):
        refuse_strange_code(here, ["mine:B", "mine:C"], trusted=False)
    refuse_strange_code(here, ["mine:C"], trusted=True)
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null/x")  # no place for a key
    with pytest.raises(UserError):
        refuse_strange_code(here, ["mine:B"], trusted=False)
    mark_code(here / "nowhere", ["mine:B"])  # and no mark is made, nor an error


def test_a_sweep_of_a_stranger(here, capsys):
    (here / "base.yaml").write_text(
        "{environment: {name: 'strange_of_a_test:EndsWhenGood', horizon: 4}, policy: {hidden_sizes: [4]},"
        " method: {batch_size: 2}, training: {iterations: 1, devices: 1}, evaluation: {episodes: 2}}"
    )
    (here / "s.yaml").write_text("base: base.yaml\n")
    from nigt_jax.sweeps import Plan, create_sweep, load_sweep

    sweep = load_sweep(here / "s.yaml")
    folder = create_sweep(here, "sweep", "s", sweep, Plan([["s"]], [1], {}), join=False).path
    assert (folder / "code.hmac").exists()
    (folder / "code.hmac").unlink()
    for command in (["sweep", str(folder), "--resume"], ["sweep", str(folder / "sweep.yaml"), "--dry-run"]):
        assert main(command) == 2
        assert "names code, strange_of_a_test:EndsWhenGood" in capsys.readouterr().err
    assert not (here / "imported").exists()


def test_recorded_times_stay_in_the_folder(here, capsys):
    """Paths that run.json gives lead nowhere else."""
    (here / "times.csv").write_text(TIMES)
    run = here / "run"
    begun(config(workers={"count": 2, "trace": str(here / "times.csv")}), run)
    whole = json.loads((run / "run.json").read_text())
    shared = lambda path: {"shared": {"checkpoints": path, "row": 0}}
    for change in (
        {"trace": whole["trace"] | {"file": "../times.csv"}},
        {"trace": whole["trace"] | {"file": "/etc/hostname"}},
        shared("/etc/checkpoints"),
        shared("../../../x/checkpoints"),
        shared("../../../../x/y/checkpoints"),
        {"shared": {"checkpoints": "../../programs/001/checkpoints", "row": -1}},
    ):
        (run / "run.json").write_text(json.dumps(whole | change))
        assert main(["train", str(run), "--resume"]) == 2
        assert "run.json: is damaged" in capsys.readouterr().err
