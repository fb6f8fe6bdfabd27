"""Folders as they are at every place of a process's writing, which is what kill -9 leaves of them."""

import contextlib
import importlib.util
import re
import shutil
import sys
import threading
from collections import Counter
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"


def _loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


places = _loaded("bench_places", BENCH / "doomed" / "places.py")
content = _loaded("bench_kills", BENCH / "kills.py").content


def left_behind(write, folder, copies, occurrences=(1, 2, 3)):
    """Calls `write`, which writes into `folder`; copies of that by what was about to be done, and for which time.

    Names are "rename checkpoints/N 3"; where half of what is renamed was there, "rename checkpoints/N 3 half written".
    """
    seen, found, one = Counter(), {}, threading.Lock()

    def copy(name):
        if folder.is_dir():
            found[name] = copies / str(len(found))
            with contextlib.suppress(shutil.Error):  # another thread has removed a file meanwhile
                shutil.copytree(folder, found[name])

    def tell(place):
        name = re.sub(r"\b[0-9]+", "N", str(place.path.relative_to(folder)))
        kind = f"{place.kind} {name}"
        with one:
            seen[kind] += 1
            if seen[kind] in occurrences:
                copy(name := f"{kind} {seen[kind]}")
                if place.kind == "rename" and name in found:
                    copy(half := f"{name} half written")
                    places.halve(found[half] / place.source.relative_to(folder))

    with places.watched(folder, tell):
        write()
    return found
