"""Strict settings for every test: what would merely be tolerated elsewhere is an error here.

Eight virtual CPU devices; no implicit change of rank or dtype; shapes in signatures are checked at every call.
"""

import contextlib
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import chex
import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

hypothesis.settings.register_profile("default", max_examples=20, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=300, deadline=None)
hypothesis.settings.load_profile("default")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Tests that build the same program share its compilation; the folder is new for every run of the tests. The process
# that makes it takes it away: neither those of pytest-xdist nor a pytest that a test starts, which both find it here.
_made_here = "NIGT_TEST_CACHE" not in os.environ
_cache = os.environ.setdefault("NIGT_TEST_CACHE", tempfile.mkdtemp(prefix="nigt-test-cache-") if _made_here else "")
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"
# Ray reads when it is imported that a cluster of its own is for this machine alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Folders of runs that name code are marked with a key, which is not that of whoever runs the tests.
_home = tempfile.TemporaryDirectory(prefix="nigt-test-home-")
os.environ["XDG_DATA_HOME"] = _home.name

sys.path.insert(0, str(Path(__file__).parent))  # for probes.py
from quickly import without_optimisations  # noqa: E402

_checked = [
    "clocks",
    "environments",
    "policies",
    "rollout",
    "estimators",
    "methods",
    "simulation",
    "training",
    "related",
    "runtimes",
    "runs",
]


@pytest.fixture(autouse=True)
def _traces_are_counted_anew():
    """A limit on traces is for one test: the counter tells functions apart by their source alone."""
    chex.clear_trace_counter()


@pytest.fixture(autouse=True, scope="module")
def _let_programs_go():
    """Each compiled program has memory maps of its own. A process may have so many, or XLA crashes."""
    yield
    jax.clear_caches()
    gc.collect()


# Tests of what programs compute, which does not depend on how products and sums are contracted.
_QUICKLY = {"benchmark", "cli", "cluster", "estimators", "lockstep", "methods", "policies", "related", "report"}
_QUICKLY |= {"rollout", "runs", "runtimes", "simulation", "sweeps", "test_examples.py", "training"}
# These read programs, or want numbers that are equal to the bit.
_AS_USERS = {"training/test_communication.py", "rollout/test_queue.py"}


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly_where_it_makes_no_difference(request):
    """Most of the time of all tests is that of compiling."""
    here = Path(__file__).parent
    place = request.path.relative_to(here) if request.path.is_relative_to(here) else Path("elsewhere")
    quickly = place.parts[0] in _QUICKLY and place.as_posix() not in _AS_USERS
    with without_optimisations() if quickly else contextlib.nullcontext():
        yield


@pytest.fixture
def compiled_quickly():
    """For single tests of other folders."""
    with without_optimisations():
        yield


def pytest_unconfigure():
    """The process that made the cache takes it away."""
    if _made_here:
        shutil.rmtree(_cache, ignore_errors=True)


install_import_hook([f"nigt_jax.{name}" for name in _checked], "beartype.beartype")

from nigt_jax import compilation  # noqa: E402  (after the hook)

# XLA's older emitters make slower programs, and make them in less time, which is what tests need.
compilation.CPU_OPTIONS["xla_cpu_use_fusion_emitters"] = False

# What is imported stays; the collector need not look at it again and again, which takes a twentieth of all tests.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 50)
