"""Settings, sweeps and tables that nobody means: fixed seeds, and never anything but one line."""

import contextlib
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from nigt_jax.cli import main
from nigt_jax.config import check_config, describe, load_config, load_system, settings_from, system_of
from nigt_jax.errors import UserError
from nigt_jax.sweeps import load_sweep

NIGT = str(Path(sys.executable).with_name("nigt"))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n" for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases make 490,329,055 values of it, allowed: up to 10,000,000"),
        ("a: &a [*a]\n", "is nested deeper than 50, or holds itself"),
        ("method: &m {x: *m}\n", "is nested deeper than 50, or holds itself"),
        ("method: " + "{a: " * 200 + "1" + "}" * 200, "is nested deeper than 50"),
        ("seed: " + "[" * 300 + "]" * 300, "is nested deeper than 50"),
        (
            "method: !!python/object/apply:os.system ['touch imported']\n",
            "could not determine a constructor for the tag",
        ),
        ("seed: !mine 3\n", "could not determine a constructor for the tag"),
        ('seed: "\\0"\n', r"seed: got the character '\x00' in a text"),
        ('logging: {project: "\\ud800"}\n', r"logging.project: got the character '\ud800' in a text"),
        ('base: "a\\0b"\n', r"base: got the character '\x00'"),
        ("seed: 0x" + "f" * 5000, "seed: got a number of 20,000 bits, allowed: up to 1,000"),
        ("seed: 1" + "0" * 5000, "not YAML: Exceeds the limit"),
        ("? [1, 2]\n: 3\n", "got a tuple as a key, allowed: names"),
        ("method: {2020-01-01: 2}\n", "method: got a date as a key, allowed: names"),
        ("seed: 1\nseed: 2\n", 'found duplicate key "seed"'),
        ("method: {name: " + "x" * 10_000 + "}", "method.name: got 'xxx"),
        ("workers: {trace: " + "a" * 5000 + "}", "cannot be read: File name too long"),
        ("workers: {trace: ~nobody-of-this-name/x}", "there is no home folder of this name"),
        ("base: loop.yaml\n", "loop.yaml: cannot be read: Too many levels of symbolic links"),
        ("base: fifo\n", "fifo: cannot be read: is no regular file"),
        ("base: huge\n", "huge: cannot be read: has 1,099,511,627,776 bytes or more, allowed: up to 67,108,864"),
        ("workers: {trace: fifo}\n", "fifo: cannot be read: is no regular file"),
        ("workers: {file: fifo}\n", "fifo: cannot be read: is no regular file"),
        ("workers: {file: huge}\n", "huge: cannot be read: has 1,099,511,627,776 bytes or more"),
        ("workers: {availability: fifo}\n", "fifo: cannot be read: is no regular file"),
    ],
)
def test_what_nobody_means(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_config("c.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "imported").exists()


def test_an_alias_is_no_monster():
    """Nor are many values that stand there."""
    values = [1.0] * 100_000
    found = check_config({"workers": {"count": 100_000, "compute_time": {"values": values}}})
    assert found.workers.count == 100_000


def test_a_line_is_a_line_for_a_terminal_too(tmp_path, capsys):
    """Keys of somebody else's file neither colour nor fill the screen, nor move its cursor."""
    for key in (r"\e[31m\u009b2J\u202e", "x" * 100_000):
        (tmp_path / "c.yaml").write_text(f'method: {{"{key}": 1}}\n')
        assert main(["train", str(tmp_path / "c.yaml")]) == 2
        line = capsys.readouterr().err
        assert (line.count("\n"), line.removesuffix("\n").isprintable()) == (1, True)
        assert len(line) < 5000


CONFIG = """\
base: base.yaml
environment: {name: fast, horizon: 5}
estimator:
  name: gae
  gae_lambda: 0.9
method:
  name: rennala_nigt
  batch_size: 4
  learning_rate: 0.1
workers:
  count: 3
  compute_time: {kind: exponential, scale: 1.0, worker_exponent: 0.5}
  environments: [{workers: [1], gravity: 1.5}]
training:
  budget: 60 gradients
logging: {sinks: []}
"""
SYSTEM = """\
system: fednpg
world: {side: 2}
workers: {count: 3, compute_time: {values: [1.0, 2.0, 4.5]}}
training: {iterations: 12, chunk: 5}
checkpoint: {every: 4}
"""
SWEEP = """\
base: base.yaml
overrides: {training.budget: 20 gradients}
scenarios:
  equal: {workers.compute_time.worker_exponent: 0}
  uneven: {workers.compute_time.worker_exponent: 0.5}
variants:
  rennala: {method.name: rennala_nigt, grid: {method.batch_size: [2, 5]}}
  afedpg: {method.name: afedpg}
tune:
  seed: [100]
  method.learning_rate: [0.1, 0.2]
grid:
  seed: [0, 1]
"""
TRACE = "worker,duration,complete,exchange\n1,1.0,1,0.5\n2,2.5,0,\n1,0.5,1,1e-3\n3,7,1,0\n"
WORKERS = "worker,time,unit,communication_time\na,2.0,s,0.5\nb,300,ms,20\nc,1,min,0\n"
WINDOWS = "worker,start,end\n1,22:30,06:00\n2,08:00,17:15:30\n"
VALUES = (
    *("null", "true", "-1", "0", "1e308", "-1e-320", ".inf", ".nan", "1e999", "9" * 30, "''", "'../../x'", "[]", "{}"),
    *("[[]]", "{a: 1}", "[1, two]", "'a:b'", "'os:system'", "&a [*a]", '"\\0"', '"\\e[31m"', '"\\ud800"', "2020-01-01"),
    *("!!binary aGk=", "!!set {a}", "~", "-", "~x/y", "/dev/null", "/", "1_000", "-1 gradients", "3 parsecs", "1:30"),
    *("[1, 1]", "[-1]", "[1000000000000]", "{values: []}", "{kind: x}", "x" * 5000, "é", "<script>", '"\\u2028"'),
)
KEYS = [setting.key for setting in describe()]
LINES = ("<<: *x", "? [a]", "- 1", "---", "...", "%YAML 1.1", "!!python/object/apply:os.system ['x']", "key: [", "}")


def mutated(rng, text):
    """The text with a few changes: a value, a letter, a line, a setting more, other indentation, or its end is gone."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        line, kind = lines[place], rng.randrange(7)
        if kind == 0 and ":" in line:
            lines[place] = f"{line.split(':')[0]}: {rng.choice(VALUES)}"
        elif kind == 1 and line:
            letter = rng.randrange(len(line))
            lines[place] = line[:letter] + rng.choice("{}[]:,&*!|>'\"%@`#-? \t\0\x07é\ud800x0;") + line[letter + 1 :]
        elif kind == 2:
            lines.insert(place, rng.choice([*lines, *LINES]))
        elif kind == 3:
            lines = lines[: place + 1]
        elif kind == 4:
            section, _, setting = rng.choice(KEYS).rpartition(".")
            lines.append(f"{section or 'x'}: {{{setting}: {rng.choice(VALUES)}}}")
        elif kind == 5:
            lines[place] = "  " * rng.randrange(4) + line.lstrip()
        else:
            lines[place] = re.sub(r"[\d.]+", lambda _: rng.choice(["-3", "1e400", "nan", "", "9" * 5000, "0"]), line)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def load_any(path, rng):
    """A configuration with options, as `nigt train` reads it."""
    given = {rng.choice(KEYS): rng.choice(VALUES) for _ in range(rng.randrange(3))}
    (load_config if system_of(path) is None else load_system)(path, given)


def load_table(key):
    return lambda path, rng: check_config({"workers": {key: str(path)} | ({} if rng.random() < 0.7 else {"count": 3})})


@pytest.mark.parametrize(
    ("text", "suffix", "load", "cases"),
    [
        (CONFIG, "yaml", load_any, 150),
        (SYSTEM, "yaml", load_any, 60),
        (SWEEP, "yaml", lambda path, rng: load_sweep(path), 80),
        (TRACE, "csv", load_table("trace"), 60),
        (WORKERS, "csv", load_table("file"), 60),
        (WINDOWS, "csv", load_table("availability"), 60),
        (WORKERS, "csv", lambda path, rng: settings_from(str(path)), 60),
    ],
    ids=["configuration", "system", "sweep", "trace", "workers", "windows", "columns"],
)
def test_hundreds_of_mistakes(tmp_path, monkeypatch, text, suffix, load, cases):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("environment: {name: fast}\npolicy: {hidden_sizes: [4]}\n")
    path, said = tmp_path / f"f.{suffix}", []
    for seed in range(cases):
        rng = random.Random(seed)
        path.write_bytes(mutated(rng, text))
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore")
            try:
                load(path, rng)
            except UserError as error:
                said.append(str(error))
                raise
    assert [line for line in said if "\n" in line or ": got '{" in line] == []  # a line, and on one setting
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"base.yaml", path.name})
    assert 0 < len(said) < cases  # neither is everything refused, nor nothing


@pytest.mark.slow
@pytest.mark.parametrize("text", [BOMB, "seed: 1\0", "a: &a [*a]\n", "method: !!python/name:os.system\n"])
def test_as_a_process(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    command = [NIGT, "train", "c.yaml", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("key", ["trace", "file", "availability"])
def test_tables_that_are_none(tmp_path, suffix, key):
    for content in (b"", b"PAR1", b"PAR1" + b"\xff" * 64 + b"PAR1", b"\xff\xfe\0", b"a" * 300_000, b'"'):
        (tmp_path / f"t.{suffix}").write_bytes(content)
        with pytest.raises(UserError) as caught:
            check_config({"workers": {key: str(tmp_path / f"t.{suffix}")}})
        assert "\n" not in str(caught.value)


def test_a_table_that_claims_too_many_rows(tmp_path, monkeypatch):
    """Parquet keeps a billion equal numbers in a few bytes."""
    table = "pyarrow.table({'worker': [1] * 9, 'duration': [1.0] * 9})"
    writer = f"import sys, pyarrow; from pyarrow import parquet; parquet.write_table({table}, sys.argv[1])"
    path = str(tmp_path / "t.parquet")
    subprocess.run([sys.executable, "-c", writer, path], check=True)
    check_config({"workers": {"trace": path}})
    monkeypatch.setattr("nigt_jax.config._trace_files.MOST_ROWS", 8)
    with pytest.raises(UserError, match="has 9 rows, allowed: up to 8"):
        check_config({"workers": {"trace": path}})
    monkeypatch.setattr("nigt_jax.config._tables._MOST_ROWS", 8)
    with pytest.raises(UserError, match="has 9 rows, allowed: up to 8"):
        check_config({"workers": {"file": path}})


def test_a_worker_whose_number_has_thousands_of_digits(tmp_path):
    """Python itself refuses to read that many."""
    (tmp_path / "w.csv").write_text(f"worker,start,end\n{'9' * 5000},22:30,06:00\n")
    with pytest.raises(UserError, match=r"line 2: got worker '9+', allowed: a number from 1 on"):
        check_config({"workers": {"availability": str(tmp_path / "w.csv")}})
