"""Where records go beside metrics.jsonl: each tracker is read back by its own format."""

import json
import sqlite3
import struct
import sys
import threading

import numpy as np
import pytest
from probes import EndsWhenGood
from short_runs import config

from nigt_jax.cli import main
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.records import read_metrics
from nigt_jax.runs import train

MINE = """
import json

class Mine:
    def __init__(self, config, folder):
        self.file = open(folder / "mine.jsonl", "a")
    def write(self, records, begun):
        counts = None if begun is None else begun.tolist()
        self.file.write(json.dumps([[r["iteration"] for r in records], counts]) + "\\n")
    def close(self):
        self.file.close()

class Weak(Mine):
    def __init__(self, config, folder):
        pass
    def write(self, records, begun):
        raise ConnectionError("nobody there")

class Impossible:
    pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "sinks_of_a_test.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("sinks_of_a_test", None)


@pytest.mark.usefixtures("mine")
def test_a_sink_of_ones_own_has_every_record_once(tmp_path):
    """Over an interruption, too; and how many gradients each worker has begun by then."""
    cfg, run, stop = config(logging={"sinks": ["sinks_of_a_test:Mine"]}), tmp_path / "run", threading.Event()
    stop_after = lambda progress: stop.set() if progress["iteration"] == 8 else None
    train(cfg, run, environment=EndsWhenGood(), progress=stop_after, interrupted=stop)
    train(cfg, run, resume=True, environment=EndsWhenGood())
    written = [json.loads(line) for line in (run / "mine.jsonl").read_text().splitlines()]
    assert [iteration for iterations, _ in written for iteration in iterations] == list(range(13))
    records = {r["iteration"]: r for r in read_metrics(run / "metrics.jsonl")}
    begun = {iterations[-1]: counts for iterations, counts in written if counts is not None}
    assert len(begun) >= 3
    for iteration, counts in begun.items():
        assert len(counts) == cfg.workers.count
        assert sum(counts) >= records[iteration]["gradients"]


@pytest.mark.usefixtures("mine")
def test_a_sink_that_fails_does_not_end_a_run(tmp_path):
    cfg = config(logging={"sinks": ["sinks_of_a_test:Weak", "sinks_of_a_test:Mine"]})
    with pytest.warns(RunWarning, match="sinks_of_a_test:Weak is dropped: ConnectionError: nobody there"):
        train(cfg, tmp_path / "run", environment=EndsWhenGood())
    assert [r["iteration"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl")] == list(range(13))
    assert len((tmp_path / "run" / "mine.jsonl").read_text().splitlines()) >= 3


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sinks_of_a_test:Impossible", "sinks_of_a_test:Impossible cannot be made: TypeError"),
        ("sinks_of_a_test:Nobody", "sinks_of_a_test:Nobody: the module sinks_of_a_test has no Nobody"),
        ("no_such_module:Sink", "no_such_module:Sink: no_such_module cannot be imported from"),
    ],
)
def test_a_sink_that_is_not_there(tmp_path, name, says):
    with pytest.raises(UserError, match=f"logging.sinks: {says}"):
        train(config(logging={"sinks": [name]}), tmp_path / "run", environment=EndsWhenGood())


def test_mistakes():
    with pytest.raises(UserError, match=r"logging.sinks.*got 'tensorbord'.*allowed: .*tensorboard"):
        config(logging={"sinks": ["tensorbord"]})
    with pytest.raises(UserError, match=r"logging.sinks: got wandb 2 times, allowed: once"):
        config(logging={"sinks": ["wandb", "wandb"]})


def test_a_tracker_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        UserError, match=r"logging.sinks: wandb: wandb is not installed, allowed: pip install 'nigt_jax\[wandb\]'"
    ):
        train(config(logging={"sinks": ["wandb"]}), tmp_path / "run", environment=EndsWhenGood())
    assert not (tmp_path / "run" / "run.json").exists()


def events(folder):
    """All events in TensorBoard's files, each length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.rglob("events*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + size])
            data = data[12 + size + 4 :]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    cfg = config(logging={"sinks": ["tensorboard"]})
    train(cfg, tmp_path / "run", environment=EndsWhenGood())
    found = {}
    for event in events(tmp_path / "run" / "tensorboard"):
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value
    for record in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        for name in ("gradients", "simulated_time", *(["return_mean"] if "return_mean" in record else [])):
            shown = found[name][record["iteration"]]
            assert shown.simple_value == pytest.approx(record[name], rel=1e-6)
    histogram = max(found["workers/begun"].items())[1].histo
    assert histogram.num == cfg.workers.count
    assert any("hparams" in tag for tag in found)
    assert any("configuration" in tag for tag in found)


@pytest.mark.slow
def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(config(logging={"sinks": ["wandb"], "project": "mine"}), tmp_path / "run", environment=EndsWhenGood())
    (file,) = (tmp_path / "run").rglob("run-*.wandb")
    data = file.read_bytes()
    for word in (b"return_mean", b"simulated_time", b"method.learning_rate", b"workers/begun"):
        assert word in data


@pytest.mark.slow
def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    train(config(logging={"sinks": ["trackio"], "project": "mine"}), tmp_path / "run", environment=EndsWhenGood())
    (database,) = (tmp_path / "trackio").rglob("mine*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select metrics from metrics").fetchall()
    shown = [json.loads(row[0]) for row in rows]
    recorded = [r["return_mean"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "return_mean" in r]
    found = [row["return_mean"] for row in shown if "return_mean" in row]
    np.testing.assert_allclose(sorted(found), sorted(recorded), rtol=1e-6)


def test_a_sweep_has_a_table_instead(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("base: {logging: {sinks: [tensorboard]}}\ngrid: {seed: [0, 1]}\n")
    assert main(["sweep", str(tmp_path / "s.yaml"), "--dry-run"]) == 2
    assert "logging.sinks: a sweep has results.parquet instead, allowed: []" in capsys.readouterr().err
