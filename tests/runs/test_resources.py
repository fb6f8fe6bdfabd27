"""Devices, lanes and blocks: as asked for, as they were, and as they are where a run goes on."""

import os
import subprocess
import sys

import jax
import pytest
from probes import EndsWhenGood
from resuming import begun, changed, config, go_on, recorded, refused, resources

from nigt_jax.errors import RunWarning
from nigt_jax.runtimes import _devices


def test_settings_that_change_no_numbers_may_change(tmp_path):
    begun(config(), tmp_path, environment=EndsWhenGood())
    go_on(tmp_path, changed(tmp_path, **{"training.compilation_cache": "false", "training.block": "2"}))
    assert "compilation_cache: false\n" in (tmp_path / "config.yaml").read_text()
    assert resources(tmp_path)[1]["block"] == 2
    message = refused(tmp_path, changed(tmp_path, **{"training.chunk": "2"}))
    assert "training.compilation_cache" in message
    assert message.endswith("training.block unless the estimator compares the episodes of a block")


def with_devices(folder, devices):
    return changed(folder, **{"training.devices": str(devices)})


def test_what_was_asked_for_is_apart_from_what_it_became(tmp_path):
    cfg = config(training={"iterations": 6, "lanes": 50})
    begun(cfg, tmp_path, environment=EndsWhenGood())
    asked = {"devices": "auto", "lanes": 50, "block": "auto"}
    assert resources(tmp_path) == (asked, {"devices": 4, "lanes": 1, "block": 4})
    text = (tmp_path / "config.yaml").read_text()
    assert "devices: 4\n" in text
    for given in (None, cfg):
        go_on(tmp_path, given, environment=EndsWhenGood())
        assert (tmp_path / "config.yaml").read_text() == text
    go_on(tmp_path, with_devices(tmp_path, 2))  # lanes are again as many as there are episodes
    assert resources(tmp_path) == (asked | {"devices": 2}, {"devices": 2, "lanes": 2, "block": 4})
    go_on(tmp_path, with_devices(tmp_path, "auto"))
    assert resources(tmp_path) == (asked, {"devices": 4, "lanes": 1, "block": 4})


def test_another_number_of_devices_where_gradients_arrive(tmp_path):
    """A critic learns after each gradient, whatever the block (test_arrivals)."""
    cfg = config(method={"name": "afedpg"}, estimator={"name": "gae"})
    begun(cfg, tmp_path, environment=EndsWhenGood())
    assert recorded(tmp_path)["resolved"]["block"] == 10  # of ten workers
    go_on(tmp_path, with_devices(tmp_path, 4))
    assert recorded(tmp_path)["resolved"]["block"] == 12
    go_on(tmp_path, with_devices(tmp_path, 2))
    assert recorded(tmp_path)["resolved"]["block"] == 10


def test_a_block_stays_what_it_was_where_episodes_are_compared(tmp_path):
    """20 episodes in blocks of 10: on 4 devices they would be blocks of 12."""
    training = {"iterations": 6, "devices": 2, "block": 13}
    for estimator in ("leave_one_out", "return_to_go"):
        folder = tmp_path / estimator
        cfg = config(method={"batch_size": 20}, training=training, estimator={"name": estimator})
        begun(cfg, folder, environment=EndsWhenGood())
        assert resources(folder)[0]["block"] == 13
        assert resources(folder)[1]["block"] == 10
    message = refused(tmp_path / "leave_one_out", with_devices(tmp_path / "leave_one_out", 4))
    assert "training.devices: got 4, which would compute 12 episodes together; the run was made with 10" in message
    assert message.endswith("leave_one_out compares them; allowed: 1, 2, 5, 10")
    go_on(tmp_path / "leave_one_out", with_devices(tmp_path / "leave_one_out", 5))
    assert resources(tmp_path / "leave_one_out")[1] == {"devices": 5, "lanes": 2, "block": 10}
    go_on(tmp_path / "return_to_go", with_devices(tmp_path / "return_to_go", 4))
    assert resources(tmp_path / "return_to_go")[1]["block"] == 12
    other = changed(tmp_path / "leave_one_out", **{"training.block": "4"})
    assert "training.block is 5, but the run was made with 10" in refused(tmp_path / "leave_one_out", other)


@pytest.fixture
def one_device(monkeypatch):
    """As in a notebook where JAX was used before, on a machine with two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(_devices, "devices_of", lambda kind: jax.devices("cpu")[:1])


def test_fewer_devices_than_a_run_had(tmp_path, request):
    begun(config(training={"iterations": 6}), tmp_path / "auto", environment=EndsWhenGood())
    begun(config(), tmp_path / "two", environment=EndsWhenGood())
    request.getfixturevalue("one_device")
    says = "the run had 4 devices and goes on with 1, .*; a CPU is one device unless .*_devices', 4"
    with pytest.warns(RunWarning, match=says):
        go_on(tmp_path / "auto")
    assert resources(tmp_path / "auto")[0]["devices"] == "auto"
    assert resources(tmp_path / "auto")[1] == {"devices": 1, "lanes": 4, "block": 4}
    message = refused(tmp_path / "two")
    assert "training.devices: got 2, but there are 1 cpu devices; a CPU is one device unless" in message
    go_on(tmp_path / "two", with_devices(tmp_path / "two", 1))
    assert resources(tmp_path / "two")[0]["devices"] == 1


@pytest.mark.usefixtures("one_device")
def test_fewer_devices_than_cores(tmp_path, monkeypatch):
    with pytest.warns(RunWarning, match="the run has 1 of 2 possible devices; a CPU is one device unless"):
        begun(config(training={"iterations": 6}), tmp_path / "a", environment=EndsWhenGood())
    begun(config(training={"iterations": 6, "devices": 1}), tmp_path / "b", environment=EndsWhenGood())
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    begun(config(training={"iterations": 6}), tmp_path / "c", environment=EndsWhenGood())  # as its user wants it


NOTEBOOK = """
import os, sys, threading, warnings, jax
os.sched_getaffinity = lambda process: {0, 1}
jax.config.update("jax_platforms", "cpu")
jax.numpy.ones(3).block_until_ready()
import nigt_jax
from pathlib import Path
stop = threading.Event()
stop.set()
warnings.simplefilter("always")
run, new = map(Path, sys.argv[1:])
config = nigt_jax.load_config(run / "config.yaml", {"training.devices": "auto"})
nigt_jax.train(nigt_jax.load_config(run / "config.yaml"), run, resume=True, interrupted=stop)
nigt_jax.train(config, new, interrupted=stop)
"""


@pytest.mark.slow
def test_in_a_notebook_where_jax_was_used_before(tmp_path):
    cfg = config(training={"iterations": 6})
    begun(cfg, tmp_path / "run")
    arguments = [sys.executable, "-c", NOTEBOOK, str(tmp_path / "run"), str(tmp_path / "new")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "RunWarning: the run had 4 devices and goes on with 1, " in done.stderr
    assert "RunWarning: the run has 1 of 2 possible devices; a CPU is one device unless" in done.stderr
