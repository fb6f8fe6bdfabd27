"""Compiled programs that are kept from one start to the next, and what is left of one whose process was killed."""

import sys
import types
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

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
