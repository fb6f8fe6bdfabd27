"""Compiled programs that are kept from one start to the next, and what is left of one whose process was killed."""

import sys
import types
import zlib

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from nigt_jax import __main__ as command
from nigt_jax.cli import main

SIMULATE = ("simulate", "configs/quick.yaml", "--rounds", "3")


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


@pytest.mark.filterwarnings("default:Error reading persistent compilation cache:UserWarning")
def test_half_a_program_is_made_whole(kept, recwarn, capsys, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    assert main(SIMULATE) == 0
    whole = contents(kept)
    assert whole
    for path in kept.glob("*-cache"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    jax.clear_caches()
    assert main(SIMULATE) == 0
    assert contents(kept).keys() == whole.keys()
    assert not recwarn.list
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_everything_is_imported(monkeypatch, capsys):
    class Slow(types.ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "nigt_jax.cli", Slow("nigt_jax.cli"))
    assert command.main() == 130
    assert capsys.readouterr().err == ""
