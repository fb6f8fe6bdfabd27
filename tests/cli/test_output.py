"""Standard output that vanishes, and what else a process may lack: a home, numbers of 32 bits, descriptors."""

import errno
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from nigt_jax.cache import cache_folder
from nigt_jax.cli import main
from nigt_jax.cli._display import make_display
from nigt_jax.cli._streams import Forgiving
from nigt_jax.config import Amount
from nigt_jax.errors import RunWarning
from nigt_jax.records import read_metrics

NIGT = str(Path(sys.executable).with_name("nigt"))
FULL = "nigt: standard output: cannot be written: No space left on device\n"
TINY = """
environment: {name: fast, horizon: 5}
policy: {hidden_sizes: [4]}
method: {batch_size: 4}
training: {iterations: 60, chunk: 5, platform: cpu, devices: 1}
evaluation: {every: 20, episodes: 4}
"""
# As where there is no HOME, and the system does not know the user.
WITHOUT_HOME = """
import os, pwd, sys
def unknown(number):
    raise KeyError(number)
pwd.getpwuid = unknown
for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
    os.environ.pop(name, None)
from nigt_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def tiny(tmp_path):
    """A configuration that runs in no time."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def shell(line, *arguments, **options):
    """A line of sh with the command's arguments in "$@"."""
    return subprocess.run(["sh", "-c", line, NIGT, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *(pytest.param(more, marks=pytest.mark.slow) for more in (["train", "--help"], ["--version"]))],
)
def test_help_that_nobody_gets(arguments):
    """A full disk is a fault; a reader that has had enough, or a closed descriptor, is none."""
    full = shell('"$0" "$@" > /dev/full', *arguments)
    assert (full.returncode, full.stderr) == (1, FULL)
    closed = shell('"$0" "$@" >&-', *arguments)
    assert (closed.returncode, closed.stderr) == (0, "")
    left = shell('("$0" "$@"; echo $? >&2) | true', *arguments)
    assert left.stderr.splitlines()[-1] == "0"
    assert "Traceback" not in left.stderr
    assert "ignored" not in left.stderr
    assert shell('"$0" "$@" > /dev/full 2> /dev/full', *arguments).returncode == 1


def test_mistakes_that_nobody_gets():
    assert shell('"$0" trian 2> /dev/full').returncode == 2
    assert shell('"$0" trian >&- 2>&-').returncode == 2


@pytest.mark.slow
def test_a_run_on_a_full_disk_without_a_home_in_64_bits(tiny, tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_HOME, "train", str(tiny), "--output", str(tmp_path), "--name", "r"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_ENABLE_X64": "1"},
        )
    assert (done.returncode, done.stderr) == (0, FULL)
    assert len(read_metrics(tmp_path / "r" / "metrics.jsonl")) == 61
    assert (tmp_path / "r" / "checkpoints" / "60").is_dir()


def test_a_run_whose_reader_leaves(tiny, tmp_path):
    done = shell('("$0" "$@"; echo $? >&2) | head -1', "train", tiny, "--output", tmp_path, "--name", "r")
    assert done.stdout.startswith("run ")
    assert done.stderr.splitlines() == ["nigt: standard output: cannot be written: Broken pipe", "0"]
    assert (tmp_path / "r" / "checkpoints" / "60").is_dir()


@pytest.mark.slow
def test_clocks_without_any_stream_in_64_bits(tiny, tmp_path):
    """A file that is opened must not become standard output or standard error."""
    arguments = ("simulate", tiny, "--rounds", "3", "--output", tmp_path, "--name", "s")
    done = shell('"$0" "$@" <&- >&- 2>&-', *arguments, env=os.environ | {"JAX_ENABLE_X64": "1"})
    assert done.returncode == 0
    assert {p.name for p in (tmp_path / "s").iterdir()} == {"config.yaml", "simulation.json", "timeline.png"}


def test_too_little_memory_is_a_line(monkeypatch, capsys):
    def load(*arguments):
        raise MemoryError(f"9 TB for {arguments[0]}")

    monkeypatch.setattr("nigt_jax.cli._train.load_config", load)
    assert main(["train", "x.yaml"]) == 1
    assert capsys.readouterr() == ("", "nigt: too little memory; 9 TB for x.yaml\n")


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text):
        """Refuses."""
        raise OSError(errno.EIO, f"cannot write {len(text)} characters")


def test_what_cannot_be_written_is_told_once():
    told = []
    stream = Forgiving(Broken(), told.append)
    assert [stream.write("a"), stream.write("bc")] == [1, 2]
    stream.flush()
    assert len(told) == 1
    assert stream.lost is told[0]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_display_cannot_end_a_run(terminal):
    record = {"iteration": 1, "simulated_time": 0.0, "steps_per_second": 1.0, "seconds_left": 1.0}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        display = make_display(Console(file=Broken(), force_terminal=terminal), ends=[Amount(10, "iterations")])
        display.update(record | {"diverged_fraction": 0.5, "clock": "simulated time", "workers": []})
        display.update({})
        display.close()
    (warning,) = told
    assert warning.category is RunWarning
    assert "progress is not shown any more" in str(warning.message)


@pytest.mark.parametrize(("name", "value"), [("HOME", "/dev/null"), ("XDG_CACHE_HOME", "/dev/null/x")])
def test_a_cache_that_cannot_be_is_done_without(monkeypatch, name, value):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, value)
    assert cache_folder() is None


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nigt_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "nigt_jax"
