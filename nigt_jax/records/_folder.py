"""A run's folder: its name, and what lies where in it. Needs no JAX."""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nigt_jax.config import (
    RUN_FILE,
    Config,
    SystemConfig,
    check_config,
    check_system,
    dump_config,
    load_config,
    load_system,
    system_of,
    to_dict,
)
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.files import MOST_SETTINGS, MOST_TABLE, check_regular, new_file, read_bytes, read_text
from nigt_jax.records._code import code_of, mark_code
from nigt_jax.records._provenance import (
    Provenance,
    Trace,
    Written,
    dump_provenance,
    naming_the_writer,
    read_provenance,
)
from nigt_jax.records._whole import copy_whole, write_whole

_Kind = TypeVar("_Kind", bound=Config | SystemConfig)
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class RunFolder:
    """``config.yaml``, ``run.json``, ``metrics.jsonl`` and ``checkpoints/`` of one run, and its copy of recorded times.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._claimed: os.stat_result | None = None

    @property
    def config(self) -> Path:
        """The complete resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON record a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Full states, the last few."""
        return self.path / "checkpoints"

    @property
    def start(self) -> Path:
        """The policy that it starts with, where that is another one's."""
        return self.path / "start"

    @property
    def best(self) -> Path:
        """The policy of the highest evaluation, where that is kept."""
        return self.path / "best"

    @property
    def durations(self) -> Path:
        """Times of real workers' gradients, as `workers.trace` takes them."""
        return self.path / "durations.csv"

    def wanted_workers(self) -> int | None:
        """How many real workers there should be, as somebody has written into ``workers``; None where nobody has.

        Raises:
          UserError: it is no number, or cannot be read.
        """
        with contextlib.suppress(FileNotFoundError):
            text = _read_line(self.path / "workers")
            if not text.isdecimal() or len(text) > 9:
                raise UserError(
                    f"{self.path / 'workers'}: got {text[:20]!r}, allowed: how many workers there should be"
                )
            return int(text)
        return None

    def append_durations(self, rows: Sequence[tuple[int, float, bool, float | None]]) -> None:
        """Adds rows of times: worker, from 1, duration, whether it is complete, exchange; OSError where it cannot."""
        header = "" if self.durations.exists() else "worker,duration,complete,exchange\n"
        number = lambda time: "" if time is None else f"{time:.6f}"
        lines = [
            f"{worker},{number(duration)},{complete:d},{number(exchange)}\n"
            for worker, duration, complete, exchange in rows
            if duration >= 1e-6  # what is broken off at once says nothing
        ]
        with new_file(self.durations, "a") as file:
            file.write(header + "".join(lines))

    def provenance(self) -> Provenance | None:
        """What ``run.json`` says, None where there is none; see :func:`read_provenance`."""
        return read_provenance(self.path / RUN_FILE, Provenance)

    def written(self) -> Written | None:
        """What ``run.json`` says of every run, that of a related system too; None likewise."""
        return read_provenance(self.path / RUN_FILE, Written)

    def write_provenance(self, provenance: Written) -> None:
        """Writes ``run.json``, whole or not at all; OSError where it cannot."""
        write_whole(self.path / RUN_FILE, dump_provenance(provenance))

    def write_config(self, config: Config | SystemConfig) -> None:
        """Writes ``config.yaml``, whole or not at all, and marks the code that it names; OSError where it cannot."""
        mark_code(self.path, code_of(config))
        write_whole(self.config, dump_config(self.portable(config)))

    def portable(self, config: _Kind) -> _Kind:
        """The configuration as ``config.yaml`` has it: the run's own copies of files are relative to its folder."""
        own = lambda path: path is not None and Path(path).parent.resolve() == self.path.resolve()
        if own(trace := config.workers.trace):
            config = _with_trace(config, Path(str(trace)).name)
        policy = getattr(config, "policy", None)  # a related system has none
        if policy is not None and own(policy.start):
            config = dataclasses.replace(config, policy=dataclasses.replace(policy, start=Path(policy.start).name))
        return config

    def refuse_strangers(self, config: Config | SystemConfig) -> None:
        """UserError where ``config.yaml`` is there, and is not that of a run which has not begun yet.

        A run has ``run.json`` beside it; before that is written it is word for word what :func:`create_run` makes of
        `config`.
        """
        if self.written() is None and self.config.exists():
            try:
                ours = read_text(self.config, MOST_SETTINGS) == dump_config(self.portable(config))
            except (OSError, UnicodeDecodeError):
                ours = False
            if not ours:
                raise self._stranger(self.config)

    def _stranger(self, path: Path) -> UserError:
        return UserError(
            f"{path}: is there already and belongs to no run (no {RUN_FILE} beside it); take another folder"
        )

    @contextlib.contextmanager
    def keeping_trace(self, config: _Kind, before: Written | None) -> Iterator[tuple[_Kind, Trace | None]]:
        """Copies the recorded times into the folder, if they are not there yet; not for good if an error follows.

        Args:
          config: the run's configuration.
          before: what the run has recorded, if it has begun.

        Yields:
          The configuration with the copy in their place, and the copy.

        Raises:
          UserError: the times, or the copy, are not those that the run began with; or a file that is not the run's has
            the name of the copy.
          OSError: they cannot be copied.
        """
        if config.workers.trace is None:
            yield config, None
            return
        given = Path(config.workers.trace)
        own = self.path / f"trace{given.suffix}"
        was_there = own.exists()
        kept = None if before is None else before.trace
        if kept is not None:
            own = self.path / kept.file
            for path in {given, own}:
                if _digest(path) != kept.sha256:
                    raise UserError(
                        f"workers.trace: {path}: these are not the times that the run began with; it goes on only with "
                        f"its copy of them, {own}, as that was written"
                    )
        elif given.resolve() != own.resolve():
            if was_there and self.written() is None and _digest(own) != _digest(given):
                raise self._stranger(own)
            copy_whole(given, own)
        try:
            yield _with_trace(config, str(own)), Trace(own.name, _digest(own))
        except BaseException:
            if not was_there:
                own.unlink(missing_ok=True)
            raise

    def refuse_links(self) -> None:
        """UserError where a folder that a run writes into is a symbolic link: nobody knows who wants it to be one."""
        for name in ("checkpoints", "damaged", "start", "best", "tensorboard", "wandb"):
            if (self.path / name).is_symlink():
                raise UserError(
                    f"{self.path / name}: is a symbolic link, allowed: a folder; {self.path} as a whole may be a link"
                )

    @property
    def begun(self) -> bool:
        """Whether anything computed is there: a record, or a checkpoint. A start that failed early leaves neither."""
        records = self.metrics.exists() and self.metrics.stat().st_size > 0
        return records or (
            self.checkpoints.is_dir() and any(path.name.isdigit() for path in self.checkpoints.iterdir())
        )

    def forget_if_empty(self) -> None:
        """Removes the folder of a run that never began, so that its name can be used again."""
        if not self.begun:
            shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other processes out of the run for as long as this one works on it.

        Raises:
          UserError: another one does.
          OSError: the folder is not there, or may not be opened.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        self._claimed = os.fstat(descriptor)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.path}: another process is running this run") from None
            except OSError as error:  # of the network or of user space, without locks
                if error.errno not in _NO_LOCKS:
                    raise
                warnings.warn(
                    f"{self.path}: its file system has no locks ({error.strerror}), so nothing keeps a second process "
                    "out of this run: see to it that there is none",
                    RunWarning,
                    stacklevel=2,
                )
            yield
        finally:
            self._claimed = None
            os.close(descriptor)  # and with it goes the lock, as it does when the process dies

    def check_claim(self) -> None:
        """OSError where the folder that was claimed is gone, or another one has its name."""
        if self._claimed is not None and not os.path.samestat(self._claimed, os.stat(self.path)):
            raise OSError(errno.ESTALE, "another folder is in the place of the one that the run is in", str(self.path))


def _read_line(path: Path) -> str:
    """A file that somebody writes a number into while the run goes on."""
    try:
        return read_bytes(path, 2**10).decode("utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _digest(path: Path) -> str:
    try:
        check_regular(path, MOST_TABLE)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"workers.trace: {path}: cannot be read: {error.strerror}") from None


def with_start(config: Config, start: str | None) -> Config:
    """The same with another policy to start with, or none."""
    return dataclasses.replace(config, policy=dataclasses.replace(config.policy, start=start))


def _with_trace(config: _Kind, trace: str) -> _Kind:
    return dataclasses.replace(config, workers=dataclasses.replace(config.workers, trace=trace))


def open_run(
    path: Path, overrides: Mapping[str, Any] | None = None, *, check_files: bool = True
) -> tuple[RunFolder, Config]:
    """The folder of an earlier run, and its configuration.

    A setting that the configuration leaves out has its default: versions before that setting knew nothing else.

    Args:
      path: the folder.
      overrides: settings of the configuration to change, see :func:`nigt_jax.load_config`.
      check_files: whether the files that the configuration names have to be readable.

    Raises:
      UserError: it is no run, or of another format, or its configuration is not valid (any more).
    """
    folder = _found(path)
    with _by_its_writer(folder, folder.written()):
        if (system := system_of(folder.config)) is not None:
            raise UserError(f"{path}: is a run of the related system {system().system}, allowed here: one of training")
        config = load_config(folder.config, check_files=check_files)
    if overrides:  # of the run itself: to load_config they would make another one of its configuration
        config = check_config(to_dict(config), str(folder.config), overrides, check_files=check_files)
    return folder, config


def open_system_run(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[RunFolder, SystemConfig]:
    """The folder of an earlier run of a related system, and its configuration; see :func:`open_run`."""
    folder = _found(path)
    with _by_its_writer(folder, folder.written()):
        config = load_system(folder.config)
    return folder, check_system(to_dict(config), str(folder.config), overrides) if overrides else config


def _found(path: Path) -> RunFolder:
    """The folder of an earlier run."""
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder; --resume takes the folder of a run, such as runs/default-001")
    if not folder.config.is_file():
        raise UserError(f"{path}: is no run folder, it has no config.yaml")
    return folder


def _by_its_writer(folder: RunFolder, before: Written | None) -> contextlib.AbstractContextManager[None]:
    """The context in which what a folder holds is read; without either nothing was computed, by whatever version."""
    return naming_the_writer(before) if before is not None or folder.begun else contextlib.nullcontext()
