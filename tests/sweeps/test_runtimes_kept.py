"""Which programs a sweep keeps: the newest, and no more than the process has memory maps for."""

from pathlib import Path

import pytest
from probes import EndsWhenGood
from short_runs import config

from nigt_jax.runtimes import SimulatedRuntime, few_maps_are_left
from nigt_jax.runtimes import _simulated as simulated
from nigt_jax.sweeps import _run as sweep


@pytest.mark.parametrize(("few_are_left", "kept"), [(False, list(range(4, 12))), (True, [11])])
def test_the_newest_are_kept(monkeypatch, few_are_left, kept):
    monkeypatch.setattr(sweep, "few_maps_are_left", lambda: few_are_left)
    runtimes = sweep._Runtimes()
    for number in range(12):
        runtimes.keep((f"kind {number}", 1), number)
    assert [number for number in range(12) if runtimes.get((f"kind {number}", 1)) is not None] == kept


@pytest.mark.parametrize(("most", "few"), [("65530", False), ("30", True), ("none", False)])
def test_maps_are_counted(monkeypatch, most, few):
    read = {"/proc/sys/vm/max_map_count": most, "/proc/self/maps": "a map\n" * 12}
    monkeypatch.setattr(Path, "read_text", lambda path: read[str(path)])
    monkeypatch.setattr(Path, "read_bytes", lambda path: read[str(path)].encode())
    assert few_maps_are_left() is few


def maps():
    return len(Path("/proc/self/maps").read_bytes().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("spmd", ["pmap", "shard_map"])
def test_programs_that_are_let_go_give_their_maps_back(monkeypatch, spmd):
    monkeypatch.setattr(sweep, "few_maps_are_left", lambda: True)
    runtimes, before = sweep._Runtimes(), maps()
    cfg = config("return_to_go", training={"iterations": 12, "chunk": 4, "devices": 1, "spmd": spmd})
    runtime = SimulatedRuntime(cfg, EndsWhenGood(), runs=[cfg] * 2)
    runtime.compile()
    taken = maps() - before
    assert taken > 500
    runtimes.keep(("first", 2), runtime)
    del runtime
    runtimes.keep(("second", 2), 2)
    assert maps() - before < taken / 3


@pytest.mark.slow
def test_many_runs_in_one_process_do_not_use_them_up(monkeypatch):
    """Whoever trains in a loop of their own."""
    cfg, before = config("return_to_go", training={"iterations": 12, "chunk": 4, "devices": 1}), maps()
    SimulatedRuntime(cfg, EndsWhenGood()).compile()
    taken = maps() - before
    assert taken > 500
    monkeypatch.setattr(simulated, "few_maps_are_left", lambda: True)
    SimulatedRuntime(cfg, EndsWhenGood()).compile()
    assert maps() - before < 1.5 * taken
