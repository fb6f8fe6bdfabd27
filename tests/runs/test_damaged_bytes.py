"""Bytes that are not as they were written, with fixed seeds: read as they are, or refused in one line."""

import io
import json
import pickle
import random
import shutil
import subprocess
import sys
import warnings
import zipfile

import jax
import numpy as np
import pytest
from resuming import begun, change, refused_by_command_line
from resuming import config as small

from nigt_jax.cli import main
from nigt_jax.errors import UserError
from nigt_jax.policies._files import _arrays
from nigt_jax.records import Checkpoints, open_run
from nigt_jax.report import write_report
from nigt_jax.report._names import named
from nigt_jax.report._run_page import load_run, run_page
from nigt_jax.runs import export, load_policy


def damaged(rng, data):
    """A bit, a few bytes, or a part of it changed, copied or cut off."""
    data, kind = bytearray(data), rng.randrange(5)
    first, second = (rng.randrange(max(1, len(data))) for _ in range(2))
    if kind == 0:
        del data[first:]
    elif kind == 1 and data:
        data[first] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[first : first + rng.randrange(1, 20)] = rng.randbytes(rng.randrange(20))
    elif kind == 3:
        data[first:first] = data[second : second + rng.randrange(1, 50)]
    else:
        for _ in range(5):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def told(call):
    """The line of a refusal, None where there is none; anything else is an error of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except UserError as error:
            return str(error)
    return None


def read_all(run):
    """All that a report reads of a run, and what it makes of that."""
    open_run(run)
    run_page([load_run(*named([run]))]).html()


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "metrics.jsonl"])
def test_what_stands_in_a_runs_folder(straight, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(straight[1], run, ignore=shutil.ignore_patterns("checkpoints"))
    whole = (run / name).read_bytes()
    lines = []
    for seed in range(40):
        (run / name).write_bytes(damaged(random.Random(seed), whole))
        lines.append(told(lambda: read_all(run)))
    assert all(str(tmp_path) in line and "\n" not in line for line in lines if line is not None)
    assert 0 < lines.count(None) < len(lines)


def test_a_policy(straight, tmp_path):
    export(straight[1], tmp_path / "policy")
    for name in ("policy.json", "policy.npz"):
        path = tmp_path / "policy" / name
        whole, lines = path.read_bytes(), []
        for seed in range(40):
            path.write_bytes(damaged(random.Random(seed), whole))
            lines.append(told(lambda: load_policy(tmp_path / "policy")))
        path.write_bytes(whole)
        assert all("policy.npz" in line or "policy.json" in line for line in lines if line is not None)
        assert lines.count(None) < 20


@pytest.mark.parametrize("digests", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_checkpoint(straight, tmp_path, digests):
    """With its digests none is taken for whole; without them none that cannot be read."""
    (tmp_path / "checkpoints").mkdir()
    step, kept = tmp_path / "checkpoints" / "12", straight[1] / "checkpoints" / "12"
    names = sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file() and path.name != "sha256")
    for seed in range(40):
        rng = random.Random(seed)
        shutil.rmtree(step, ignore_errors=True)
        shutil.copytree(kept, step)
        path = step / rng.choice(names)
        whole = path.read_bytes()
        path.write_bytes(damaged(rng, whole))
        if not digests:
            (step / "sha256").unlink()
        checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
        line = told(checkpoints.go_back) if checkpoints.latest is not None else "it is no checkpoint any more"
        checkpoints.close()
        assert not digests or line is not None or path.read_bytes() == whole, path


@pytest.mark.slow
def test_the_command_says_one_line(straight, tmp_path):
    """Whatever Orbax and what it stands on write of their own."""
    run = tmp_path / "run"
    shutil.copytree(straight[1], run)
    (run / "checkpoints" / "12" / "sha256").unlink()
    for name in ("state/manifest.ocdbt", "_CHECKPOINT_METADATA"):
        path = run / "checkpoints" / "12" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        command = [sys.executable, "-m", "nigt_jax", "export", run, "--output", tmp_path / "policy"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) in [(2, 1), (0, 0)], done.stderr
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "other",
    [
        lambda notes: [],
        lambda notes: {},
        lambda notes: notes | {"totals": 3},
        lambda notes: notes | {"totals": notes["totals"] | {"of a newer version": 1}},
        lambda notes: notes | {"totals": notes["totals"] | {"gradients": "many"}},
        lambda notes: notes | {"totals": notes["totals"] | {"gradients": -1}},
        lambda notes: notes | {"config": 3},
        lambda notes: notes | {"config": {"environment": [[]]}},
    ],
)
def test_notes_of_somebody_else(tmp_path, capsys, other):
    """Of a checkpoint whose digests are right, or which has none."""
    begun(small(), tmp_path)
    path = tmp_path / "checkpoints" / "0" / "notes" / "metadata"
    path.write_text(json.dumps(other(json.loads(path.read_text()))))
    (tmp_path / "checkpoints" / "0" / "sha256").unlink()
    assert str(tmp_path) in refused_by_command_line(tmp_path, capsys)


def test_a_run_that_says_it_is_one_of_a_sweep(tmp_path, capsys):
    run = tmp_path / "sweep" / "runs" / "a"
    begun(small(), run)
    (tmp_path / "sweep" / "programs" / "001").mkdir(parents=True)
    shutil.move(run / "checkpoints", tmp_path / "sweep" / "programs" / "001" / "checkpoints")
    change(run, shared={"checkpoints": "../../programs/001/checkpoints", "row": 7})
    assert main(["export", str(run)]) == 2
    assert "its notes do not know this run" in capsys.readouterr().err


def test_a_checkpoint_that_claims_more_than_there_is_memory(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, {"server": np.ones(2, np.float32)}, {})
    with pytest.raises(UserError, match="it claims to hold more than this machine has memory"):
        checkpoints.fields({"server": jax.ShapeDtypeStruct((10**14,), np.float32)})
    checkpoints.close()


def claim(folder, **claims):
    about = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(about | claims))


def test_sizes_that_are_claimed_are_not_allocated(straight, tmp_path):
    """A description of terabytes, a header of 10^12 numbers, a file that is small only while it is compressed."""
    export(straight[1], tmp_path / "policy")
    for claims in (
        {"observation_size": 10**12},
        {"hidden_sizes": [2**31 - 1, 2**31 - 1]},
        {"observation_size": 2**31 - 1, "hidden_sizes": [2**31 - 1]},
        {"hidden_sizes": [1] * 1001},
        {"observation_size": -1},
        {"observation_size": True},
    ):
        folder = tmp_path / "claims"
        shutil.copytree(tmp_path / "policy", folder)
        claim(folder, **claims)
        assert (line := told(lambda folder=folder: load_policy(folder))) is not None
        assert "does not hold what policy.json beside it says" in line or "no description of a policy" in line
        shutil.rmtree(folder)
    arrays = dict(np.load(tmp_path / "policy" / "policy.npz"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "policy" / "policy.npz", "w") as file:
        for name in arrays:
            file.writestr(f"{name}.npy", header.getvalue())
    assert "does not hold what" in told(lambda: load_policy(tmp_path / "policy"))
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(10**6, np.float32))
    wanted = {"a": ((10**6,), np.dtype(np.float32))}
    assert "does not hold what" in told(lambda: _arrays(tmp_path / "zeros.npz", wanted))
    np.savez(tmp_path / "zeros.npz", a=np.zeros(10**6, np.float32))
    assert told(lambda: _arrays(tmp_path / "zeros.npz", wanted)) is None


def test_a_huge_file_is_refused_before_it_is_read(straight, tmp_path):
    export(straight[1], tmp_path / "policy")
    with (tmp_path / "policy" / "policy.json").open("r+b") as file:
        file.truncate(2**40)
    assert "has 1,099,511,627,776 bytes or more, allowed: up to" in told(lambda: load_policy(tmp_path / "policy"))


def test_nothing_is_unpickled(straight, tmp_path):
    """Neither where an array should be nor where a file should."""

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "imported"), "w")

    export(straight[1], tmp_path / "policy")
    arrays = dict(np.load(tmp_path / "policy" / "policy.npz"))
    evil = np.array([Evil()], dtype=object)
    np.savez(tmp_path / "policy" / "policy.npz", **(arrays | {next(iter(arrays)): evil}))
    (tmp_path / "imported").unlink(missing_ok=True)
    assert told(lambda: load_policy(tmp_path / "policy")) is not None
    for name in ("policy.npz", "policy.json"):
        (tmp_path / "policy" / name).write_bytes(pickle.dumps(Evil()))
        assert told(lambda: load_policy(tmp_path / "policy")) is not None
    assert not (tmp_path / "imported").exists()


def test_names_are_text_in_every_page(straight, tmp_path):
    """Names of folders, versions and settings are somebody else's; in LaTeX and in a shell, too."""
    run = tmp_path / "<script>alert(1)<%2fscript> $(touch imported)"
    shutil.copytree(straight[1], run, ignore=shutil.ignore_patterns("checkpoints"))
    provenance = json.loads((run / "run.json").read_text())
    provenance["versions"][0]["packages"]["nigt_jax"] = "1}\n\\input{/etc/passwd} <img src=x onerror=alert(2)>"
    provenance["platform"] = "</script><script>alert(3)</script>"
    (run / "run.json").write_text(json.dumps(provenance))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page, *_ = write_report([run], tmp_path / "report.html", tex=True)
    html = page.read_text()
    assert "alert(1)" in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "\\input" not in (tmp_path / "report" / "tables.tex").read_text()
    assert f"nigt train &#39;{tmp_path}/&lt;script&gt;" in html  # quoted for a shell


def test_a_link_where_a_report_is_written(straight, tmp_path):
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(straight[1], run, ignore=shutil.ignore_patterns("checkpoints"))
    victim.mkdir()
    (run / "report").symlink_to(victim)
    assert "report: is a symbolic link, allowed: a folder" in told(lambda: write_report([run], run / "report.html"))
    (run / "report").unlink()
    (run / "report").mkdir()
    (victim / "mine").write_text("mine")
    for name in ("run-iteration.png", "tables.md.new"):
        (run / "report" / name).symlink_to(victim / "mine")
        assert main(["report", str(run)]) == 1
        (run / "report" / name).unlink(missing_ok=True)
    assert (victim / "mine").read_text() == "mine"
