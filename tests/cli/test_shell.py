"""What a person meets first: help, lists, versions, completion."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nigt_jax
from nigt_jax.cli import main
from nigt_jax.config import METHODS, check_config, describe, sections

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "sweep", "report", "render", "evaluate", "export", "simulate", "bench", "list", "completion")


def said(capsys, *arguments, status=0):
    """What a command printed, and where it complained."""
    assert main(arguments) == status
    return capsys.readouterr()


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_a_screen_and_has_an_example(capsys, command):
    lines = said(capsys, *command, "--help").out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 120
    name = " ".join(["nigt", *command])
    assert sum(line.startswith(f"  {name}") for line in lines) >= 1


def test_settings_of_a_section(capsys):
    text = said(capsys, "train", "--help-settings", "workers").out
    wanted = [setting.key for setting in describe() if setting.section == "workers"]
    assert all(f"--{key} " in text for key in wanted)
    assert "--method.name" not in text
    out, err = said(capsys, "train", "--help-settings", "wrokers", status=2)
    assert (out, err.count("\n")) == ("", 1)
    assert "(did you mean workers?), allowed: " + ", ".join(sections()) in err


def test_settings_are_taken_where_help_does_not_show_them(capsys):
    assert "--method.momentum" not in said(capsys, "train", "--help").out
    command = [
        sys.executable,
        "-m",
        "nigt_jax",
        "train",
        "configs/quick.yaml",
        "--method.momentum",
        "0.75",
        "--dry-run",
    ]
    assert "momentum: 0.75" in subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.mark.parametrize("kind", ["methods", "environments", "estimators", "clocks", "transforms"])
def test_lists(capsys, kind):
    rows = json.loads(said(capsys, "list", kind, "--json").out)
    shown = said(capsys, "list", kind).out.splitlines()
    assert len(shown) == len(rows) >= 4
    for line, row in zip(shown, rows, strict=True):
        assert row["about"]
        assert row["name"] in line
        assert line.endswith(row["about"])


def test_what_is_listed_is_allowed(capsys):
    """And what is there for our own tests is not offered."""
    for kind in ("methods", "environments", "estimators", "clocks"):
        for row in json.loads(said(capsys, "list", kind, "--json").out):
            if row["name"] in ("", "module:Class"):
                continue
            base = {"workers": {"count": 20}, "method": {"trajectories_per_gradient": 2}}
            check_config(base, overrides={row["setting"]: row["name"]})
    assert [row["name"] for row in json.loads(said(capsys, "list", "methods", "--json").out)] == list(METHODS)
    assert "fast" not in said(capsys, "list", "environments").out
    err = said(capsys, "train", str(ROOT / "configs/quick.yaml"), "--environment.name", "hoper", status=2).err
    assert "did you mean hopper?" in err
    assert "'fast'" not in err


def test_versions(capsys):
    first, second, devices = said(capsys, "--version").out.splitlines()
    assert first == f"nigt_jax {nigt_jax.__version__}"
    assert all(name in second for name in ("python 3.", "jax ", "brax "))
    assert devices == "devices: 8 x cpu (cpu)"


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "nigt_jax", "list", "methods"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rennala_nigt" in done.stdout


def test_bash_completes_commands_and_settings(capsys, tmp_path):
    script = tmp_path / "nigt"
    script.write_text(said(capsys, "completion", "bash").out)

    def completed(*words):
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        line = f"{typed}; _shtab_nigt; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-c", f"source {script}; {line}"], capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("nigt", "tr") == ["train"]
    assert set(COMMANDS) <= set(completed("nigt", "''"))
    assert completed("nigt", "train", "--method.momen") == ["--method.momentum"]


def test_zsh_completion_explains(capsys):
    text = said(capsys, "completion", "zsh").out
    assert text.startswith("#compdef nigt")
    assert "--method.momentum" in text
    assert "rounds of each method" in text
