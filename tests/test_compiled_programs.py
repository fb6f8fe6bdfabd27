"""Compiled programs that are kept from one start to the next, and what is left of one whose process was killed."""

import re
import sys
import types
import warnings
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import nigt_jax
from nigt_jax import __main__ as command
from nigt_jax.cli import _show


@pytest.fixture
def kept(tmp_path):
    """A folder of compiled programs that is empty at first."""
    before = jax.config.jax_compilation_cache_dir
    folder = tmp_path / "programs"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    compilation_cache.reset_cache()
    jax.clear_caches()
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def contents(folder):
    return {path.name: zlib.decompress(path.read_bytes()) for path in folder.glob("*-cache")}


def compiled():
    """Compiles a program as a command does that shows warnings in its own way; what it shows."""
    shown = []
    jax.clear_caches()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show(lambda message, *where: shown.append(str(message)))
        jax.jit(lambda x: jnp.sin(x) + x)(np.ones(3, np.float32))
    return shown


def test_half_a_program_is_made_whole(kept):
    assert compiled() == []
    whole = contents(kept)
    assert whole
    for path in kept.glob("*-cache"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert compiled() == []
    assert contents(kept).keys() == whole.keys()


def test_other_warnings_are_shown(kept):
    shown = []
    _show(lambda message, *where: shown.append(str(message)))(UserWarning("mind the gap"), UserWarning, "file", 1)
    assert (shown, list(kept.glob("*"))) == (["mind the gap"], [])


def test_ctrl_c_while_everything_is_imported(monkeypatch, capsys):
    class Slow(types.ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "nigt_jax.cli", Slow("nigt_jax.cli"))
    assert command.main() == 130
    assert capsys.readouterr().err == ""


ROOMS = ("benchmark", "cli", "environments", "report", "rollout", "runs", "runtimes", "sweeps", "training")
OTHERS = {
    "benchmark/_transform.py": "an update",
    "environments/_probe.py": "compiled with the options",
    "rollout/_side_by_side.py": "within another program",
    "runtimes/_spmd.py": "compiled with the options",
    "runtimes/cluster/_by_contribution.py": "the server",
    "runtimes/cluster/_rounds.py": "the clock",
    "runtimes/cluster/_runtime.py": "the server",
    "runtimes/cluster/_server.py": "the server",
    "sweeps/_twins.py": "the clock",
    "training/_endless.py": "the clock",
    "training/_engines.py": "within another program",
    "training/_unit.py": "sums of gradients",
}


def test_whoever_plays_an_environment_compiles_it_with_our_options():
    """XLA for CPU makes mistakes with its own: `nigt evaluate` once had other returns of MJX than the training."""
    root = Path(nigt_jax.__file__).parent
    files = [path for room in ROOMS for path in (root / room).rglob("*.py")]
    found = {path.relative_to(root).as_posix() for path in files if re.search(r"\bjax\.jit\b", path.read_text())}
    assert found == OTHERS.keys(), "use nigt_jax.compilation.jit, or say here why not"
