"""Which programs a sweep keeps: the newest, and no more than the process has memory maps for."""

import pytest

from nigt_jax.sweeps import _run as sweep


@pytest.mark.parametrize(("few_are_left", "kept"), [(False, list(range(4, 12))), (True, [11])])
def test_the_newest_are_kept(monkeypatch, few_are_left, kept):
    monkeypatch.setattr(sweep, "_few_maps_are_left", lambda: few_are_left)
    runtimes = sweep._Runtimes()
    for number in range(12):
        runtimes.keep((f"kind {number}", 1), number)
    assert [number for number in range(12) if runtimes.get((f"kind {number}", 1)) is not None] == kept


@pytest.mark.parametrize(("most", "few"), [("65530", False), ("30", True), ("none", False)])
def test_maps_are_counted(monkeypatch, most, few):
    read = {"/proc/sys/vm/max_map_count": most, "/proc/self/maps": "a map\n" * 12}
    monkeypatch.setattr(sweep.Path, "read_text", lambda path: read[str(path)])
    monkeypatch.setattr(sweep.Path, "read_bytes", lambda path: read[str(path)].encode())
    assert sweep._few_maps_are_left() is few
