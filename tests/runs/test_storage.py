"""Bad storage: disks that are full or read-only, file systems that lack something, folders that go or change."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from probes import EndsWhenGood
from resuming import TIMES, begun, config, go_on, refused_by_command_line
from short_runs import config as short
from short_runs import same

from nigt_jax import files
from nigt_jax.errors import RunError, RunWarning, UserError
from nigt_jax.records import MetricsLog, RunFolder, read_metrics
from nigt_jax.runs import train
from nigt_jax.sweeps._table import write_table

NIGT = str(Path(sys.executable).with_name("nigt"))


class Disk:
    """Opens files like `os`, but for those whose names end like this."""

    def __init__(self, ends, error):
        self._ends, self._error = ends, error

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, *arguments):
        """Refuses."""
        if re.search(self._ends, str(path)):
            raise OSError(self._error, os.strerror(self._error), str(path))
        return os.open(path, *arguments)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["config.yaml", "run.json", "trace.csv", "code.hmac", "metrics.jsonl"])
def test_every_file_that_a_start_writes(tmp_path, monkeypatch, name, error):
    """One line names the file; once there is room the same call goes on."""
    (tmp_path / "times.csv").write_text(TIMES)
    cfg = config(workers={"count": 2, "trace": str(tmp_path / "times.csv")})
    monkeypatch.setattr(files, "os", Disk(rf"{re.escape(name)}(\.new)?$", error))
    with pytest.raises(RunError, match=rf"{re.escape(name)}.*: cannot be written: {os.strerror(error)}"):
        begun(cfg, tmp_path / "run", environment=EndsWhenGood())
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob("*.new"))
    begun(cfg, tmp_path / "run", environment=EndsWhenGood())


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("metrics.jsonl", "sha256.new", "policy.json.new")]


@pytest.mark.parametrize("name", ["policy.npz", *SLOW])
def test_every_file_that_a_run_writes(straight, tmp_path, monkeypatch, name):
    """It goes on to the numbers of a run that had room."""
    cfg, folder, _ = straight
    cfg = short(checkpoint={"every": 5, "keep": 2, "keep_best": True})
    begins = 0 if name.startswith("policy") else 5  # of the first evaluation the policy is the best

    def full(progress):
        if progress["iteration"] == begins:
            monkeypatch.setattr(files, "os", Disk(rf"{re.escape(name)}$", errno.ENOSPC))

    train_it = lambda **options: train(cfg, tmp_path / "run", environment=EndsWhenGood(), **options)
    if not begins:
        full({"iteration": 0})
    with pytest.raises(RunError, match=rf"{re.escape(name)}: cannot be written: No space left on device.*"):
        train_it(progress=full)
    monkeypatch.undo()
    train_it(resume=True)
    assert same(read_metrics(tmp_path / "run" / "metrics.jsonl")) == same(read_metrics(folder / "metrics.jsonl"))


def test_the_table_of_a_sweep(tmp_path):
    with pytest.raises(RunError, match=r"results.parquet: cannot be written: "):
        write_table(tmp_path / "none" / "results.parquet", ["run"], [{"run": "a"}])


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path):
    """As with `ulimit -f`; standard output is full as well."""
    (tmp_path / "tiny.yaml").write_text(
        "{environment: {name: fast, horizon: 4}, policy: {hidden_sizes: [4]}, method: {batch_size: 4},"
        " training: {iterations: 40, chunk: 5, devices: 1, compilation_cache: false, platform: cpu},"
        " evaluation: {every: 20, episodes: 4}}"
    )
    command = f"ulimit -f 5; {NIGT} train tiny.yaml --name r > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    told, *rest = done.stderr.splitlines()
    assert (done.returncode, told) == (1, "nigt: standard output: cannot be written: No space left on device")
    assert len(rest) == 1
    assert re.fullmatch(r"nigt: \S+: cannot be written: File too large; .*", rest[0])


def without(monkeypatch, name, error):
    def lacks(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(*name, lacks)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_file_systems_without_locks(tmp_path, monkeypatch, error):
    without(monkeypatch, (fcntl, "flock"), error)
    with pytest.warns(RunWarning, match="its file system has no locks .*: see to it that there is none"):
        begun(config(), tmp_path / "run", environment=EndsWhenGood())


def test_a_lock_that_fails_otherwise_is_no_reason_to_go_on(tmp_path, monkeypatch):
    without(monkeypatch, (fcntl, "flock"), errno.EIO)
    with pytest.raises(RunError, match="Input/output error"):
        begun(config(), tmp_path / "run", environment=EndsWhenGood())


def test_file_systems_that_cannot_sync(tmp_path, monkeypatch):
    without(monkeypatch, (os, "fsync"), errno.EINVAL)
    begun(config(), tmp_path / "run", environment=EndsWhenGood())
    without(monkeypatch, (os, "fsync"), errno.EIO)
    with pytest.raises(RunError, match="Input/output error"):
        go_on(tmp_path / "run", environment=EndsWhenGood())


def test_two_processes_do_not_resume_one_run(tmp_path, capsys):
    begun(config(), tmp_path / "run")
    with RunFolder(tmp_path / "run").claimed():
        assert "another process is running this run" in refused_by_command_line(tmp_path / "run", capsys)


def test_a_folder_that_goes_or_is_replaced_while_the_run_works(tmp_path):
    """Nothing is written into what stands in its place, which may be another run."""

    def gone(progress):
        if progress["iteration"] == 4:
            shutil.move(tmp_path / "run", tmp_path / "moved")

    def replaced(progress):
        if progress["iteration"] == 4:
            shutil.move(tmp_path / "two", tmp_path / "moved two")
            (tmp_path / "two").mkdir()

    with pytest.raises(RunError, match="cannot be written: No such file or directory; nothing was computed yet"):
        train(short(), tmp_path / "run", environment=EndsWhenGood(), progress=gone)
    assert not (tmp_path / "run").exists()
    with pytest.raises(RunError, match="another folder is in the place of the one that the run is in"):
        train(short(), tmp_path / "two", environment=EndsWhenGood(), progress=replaced)
    assert not list((tmp_path / "two").iterdir())
    train(short(), tmp_path / "moved", environment=EndsWhenGood(), resume=True)
    assert [r["iteration"] for r in read_metrics(tmp_path / "moved" / "metrics.jsonl")] == list(range(13))


def test_lines_after_the_checkpoint_may_be_anything(tmp_path):
    """They are computed again; a line before it that is damaged is an error, as it cannot be."""
    path, line = tmp_path / "metrics.jsonl", '{"iteration": %d, %s}\n'
    rest = '"gradients": 1, "env_steps": 1, "simulated_time": 1.0, "wall_time": 1.0'
    whole = "".join(line % (k, rest) for k in range(3))
    for after in ("\0\0\0\n", '{"iteration": 3\n', line % (7, rest), '{"itera'):
        path.write_text(whole + after)
        MetricsLog(path, 2)
        assert path.read_text() == whole
    for damaged in ('{"iteration": 1}\n', "\0\n", line % (1, rest.replace("1.0", "NaN")), "[" * 10_000 + "\n"):
        path.write_text((line % (0, rest)) + damaged + (line % (2, rest)))
        with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is damaged"):
            MetricsLog(path, 2)


def test_nothing_is_written_through_links(tmp_path, capsys):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    begun(config(), run)
    for name in ("config.yaml.new", "run.json.new", "metrics.jsonl.new"):
        (run / name).symlink_to(victim)
        with pytest.raises(RunError, match="Too many levels of symbolic links"):
            go_on(run)
        (run / name).unlink(missing_ok=True)
    os.mkfifo(run / "run.json.new")  # which nobody reads
    with pytest.raises(RunError, match="No such device or address"):
        go_on(run)
    (run / "run.json.new").unlink(missing_ok=True)
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(victim)
    (run / "checkpoints" / "0").rename(tmp_path / "0")
    go_on(run)  # the link is replaced, as the file would be
    assert not (run / "metrics.jsonl").is_symlink()
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(tmp_path / "elsewhere")
    assert "checkpoints: is a symbolic link, allowed: a folder" in refused_by_command_line(run, capsys)
    assert victim.read_text() == "mine"


def test_what_is_no_regular_file_is_not_read(tmp_path, capsys):
    """Nor what is larger than such a file can be; before anything of it is read."""
    begun(config(), tmp_path)
    kept = {name: (tmp_path / name).read_bytes() for name in ("config.yaml", "run.json")}
    for name, content in kept.items():
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        said = refused_by_command_line(tmp_path, capsys)
        assert ("no regular file" in said) or (name == "config.yaml" and "is no run folder" in said)
        (tmp_path / name).unlink()
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)
        assert re.search(
            r"has 1,099,511,627,776 bytes or more, allowed: up to", refused_by_command_line(tmp_path, capsys)
        )
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo: cannot be read: is no regular file"):
        read_metrics(tmp_path / "fifo")


def test_workers_wanted_that_cannot_be_read_end_nothing(tmp_path):
    (tmp_path / "workers").mkdir()
    with pytest.raises(UserError, match="workers: cannot be read: Is a directory"):
        RunFolder(tmp_path).wanted_workers()


def test_json_that_is_nested_without_end(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        files.read_json(tmp_path / "deep.json")
    (tmp_path / "run.json").write_text("[" * 100_000)
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        RunFolder(tmp_path).provenance()
