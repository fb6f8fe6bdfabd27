"""Whatever a process begins in: its locale, its folder's name, a thread, a fork, the name it has."""

import os
import subprocess
import sys
import threading

import pytest

from nigt_jax.cli import main
from nigt_jax.config import load_system
from nigt_jax.errors import UserError
from nigt_jax.records import Checkpoints, read_metrics
from nigt_jax.related import train

TINY = """
system: fednpg
workers: {count: 3}
world: {side: 4}
training: {iterations: 3}
"""
PLACE = "ein Ordner, größer als 日本"


@pytest.fixture
def place(tmp_path):
    """A folder with a name of spaces and letters of many alphabets, and a configuration in it."""
    folder = tmp_path / PLACE
    folder.mkdir()
    (folder / "größe ü.yaml").write_text(TINY)
    return folder


def nigt(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "nigt_jax", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, check=False)


def test_a_locale_without_such_letters(place):
    """Neither names of files nor what is shown need more than bytes of the locale, which is ASCII."""
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = nigt("train", "größe ü.yaml", "--output", "läufe x", cwd=place, **ascii_only)
    assert done.returncode == 0, done.stderr.decode()
    run = place / "läufe x" / "größe ü-001"
    assert [record["iteration"] for record in read_metrics(run / "metrics.jsonl")] == [0, 1, 2, 3]
    assert (run / "checkpoints" / "3").is_dir()


@pytest.mark.parametrize("arguments", [("train", "x\udcff.yaml"), ("report", "r", "--output", "\udce4.html")])
def test_words_that_are_no_text(capsys, arguments):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "\\udc" in line
    assert "allowed: what is in UTF-8" in line


def test_a_folder_whose_name_is_no_text(tmp_path):
    with pytest.raises(UserError, match="is not a name in UTF-8"):
        Checkpoints(tmp_path / "r\udce4", keep=1)


def _trained(folder, config, results):
    try:
        results.append(train(config, folder).results)
    except BaseException as error:  # told to the thread that waits
        results.append(error)


def test_in_a_thread(place, tmp_path):
    """Where no signal can be heard: as in a notebook's or a server's thread."""
    config, results = load_system(place / "größe ü.yaml"), []
    thread = threading.Thread(target=_trained, args=(tmp_path / "r", config, results))
    thread.start()
    thread.join()
    assert results == [train(config, tmp_path / "again").results]


FORKED = """
import os, sys
import nigt_jax
from nigt_jax.config import load_system
from nigt_jax.related import train
import nigt_jax.cli

child = os.fork()
if child == 0:
    print(train(load_system(sys.argv[1]), sys.argv[2]).iteration, flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_after_a_fork(place, tmp_path):
    """Of a process that has imported everything, and not computed yet: JAX itself cannot go on in a fork after that."""
    command = [sys.executable, "-c", FORKED, str(place / "größe ü.yaml"), str(tmp_path / "r")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["3"], done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_a_cache_that_two_processes_share(place, tmp_path):
    """Both compile the same programs at the same time, and keep them in the same files."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "nigt_jax", "train", "größe ü.yaml", "--output", "two"]
    runs = [subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    told = [run.communicate(timeout=300)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    first, second = (
        [{k: v for k, v in record.items() if k != "wall_time"} for record in read_metrics(path / "metrics.jsonl")]
        for path in sorted((place / "two").iterdir())
    )
    assert first == second
