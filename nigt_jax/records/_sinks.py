"""Where records go beside metrics.jsonl: experiment trackers, and whatever a user writes."""

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from nigt_jax.config import Config, dotted, to_dict
from nigt_jax.errors import RunWarning, UserError
from nigt_jax.imports import import_named, imported, said
from nigt_jax.records._metrics import Record

_HISTOGRAM = "workers/begun"


class Sink(Protocol):
    """Takes the records of a run. It is made with the configuration and the run's folder.

    What it raises drops it, with a warning, and does not end the run. A run that goes on after it was killed may write
    records that a sink has already.
    """

    def write(self, records: Sequence[Record], begun: np.ndarray | None) -> None:
        """Takes records as they stand in metrics.jsonl.

        Args:
          records: the new ones, in order; the last may have an evaluation.
          begun: gradients that each worker has begun since the start; None where nobody counts them.
        """

    def close(self) -> None:
        """The run has ended, or was interrupted."""


class TensorBoard:
    """Event files in the run's folder, under ``tensorboard``."""

    def __init__(self, config: Config, folder: Path):
        from tensorboardX import SummaryWriter

        self._settings, self._last = _flat(config), 0.0
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        table = "".join(f"| {key} | {value} |\n" for key, value in self._settings.items())
        self._writer.add_text("configuration", f"| setting | value |\n|---|---|\n{table}")

    def write(self, records: Sequence[Record], begun: np.ndarray | None) -> None:
        """Scalars by iteration, and a histogram over workers."""
        for record in records:
            self._last = record.get("return_mean", self._last)
            for name, value in _numbers(record).items():
                self._writer.add_scalar(name, value, record["iteration"])
        if begun is not None:
            self._writer.add_histogram(_HISTOGRAM, begun, records[-1]["iteration"])
        self._writer.flush()

    def close(self) -> None:
        """With the settings as hyperparameters."""
        self._writer.add_hparams(self._settings, {"final/return_mean": float(self._last)}, name="hyperparameters")
        self._writer.close()


class WandB:
    """Weights & Biases: files in the run's folder, which ``wandb sync`` sends; with ``WANDB_MODE=online`` at once."""

    def __init__(self, config: Config, folder: Path):
        import wandb

        self._histogram, mode = wandb.Histogram, cast(Any, os.environ.get("WANDB_MODE", "offline"))
        self._run = wandb.init(
            project=config.logging.project,
            name=folder.absolute().name,
            dir=str(folder),
            config=_flat(config),
            mode=mode,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
        )

    def write(self, records: Sequence[Record], begun: np.ndarray | None) -> None:
        """Numbers by iteration, and a histogram over workers."""
        for record in records:
            more = {} if begun is None or record is not records[-1] else {_HISTOGRAM: self._histogram(begun.tolist())}
            self._run.log(_numbers(record) | more, step=record["iteration"])

    def close(self) -> None:
        """Writes what is left."""
        self._run.finish()


class Trackio:
    """Trackio's database on this machine; ``trackio show`` opens it."""

    def __init__(self, config: Config, folder: Path):
        import trackio

        self._trackio = trackio
        with _silence():
            trackio.init(
                project=config.logging.project, name=folder.absolute().name, config=_flat(config), resume="allow"
            )

    def write(self, records: Sequence[Record], begun: np.ndarray | None) -> None:
        """Numbers by iteration, and a histogram over workers."""
        for record in records:
            more = {}
            if begun is not None and record is records[-1]:
                more = {_HISTOGRAM: self._trackio.Histogram(begun.tolist())}
            self._trackio.log(_numbers(record) | more, step=record["iteration"])

    def close(self) -> None:
        """Writes what is left."""
        with _silence():
            self._trackio.finish()


# The package of each, and its sink.
_KNOWN: dict[str, tuple[str, Callable[[Config, Path], Sink]]] = {
    "tensorboard": ("tensorboardX", TensorBoard),
    "wandb": ("wandb", WandB),
    "trackio": ("trackio", Trackio),
}


def check_sinks(config: Config) -> None:
    """UserError where a sink that is named cannot be imported; makes none."""
    for name in config.logging.sinks:
        _kind(name)


def _kind(name: str) -> Callable[[Config, Path], Sink]:
    if name not in _KNOWN:
        return import_named("logging.sinks", name)
    package, known = _KNOWN[name]
    with imported(package, name, f"logging.sinks: {name}"):
        importlib.import_module(package)
    return known


class Sinks:
    """All sinks of a run; one that fails is dropped.

    Args:
      config: the run's configuration.
      folder: its folder.

    Raises:
      UserError: a sink that is named is not there, or cannot be made.
    """

    def __init__(self, config: Config, folder: Path):
        self._sinks = {name: _made(name, config, folder) for name in config.logging.sinks}

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def write(self, records: Sequence[Record], begun: np.ndarray | None) -> None:
        """Gives new records to all."""
        for name, sink in list(self._sinks.items()):
            with self._dropping(name):
                sink.write(records, begun)

    def close(self) -> None:
        """Closes all."""
        for name, sink in list(self._sinks.items()):
            with self._dropping(name):
                sink.close()

    @contextlib.contextmanager
    def _dropping(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a tracker's own trouble is not that of the run
            del self._sinks[name]
            warnings.warn(f"logging.sinks: {name} is dropped: {said(error)}", RunWarning, stacklevel=2)


def _made(name: str, config: Config, folder: Path) -> Sink:
    kind = _kind(name)
    try:
        return kind(config, folder)
    except Exception as error:  # whatever a tracker, or a user's own class, raises
        raise UserError(f"logging.sinks: {name} cannot be made: {said(error)}") from None


def _flat(config: Config) -> dict[str, Any]:
    """Settings by dotted keys; those that are no numbers, booleans or text as text."""
    plain = lambda value: value if isinstance(value, bool | int | float | str) else str(value)
    return {key: plain(value) for key, value in dotted(to_dict(config)).items()}


def _numbers(record: Record) -> dict[str, float]:
    return {name: value for name, value in record.items() if isinstance(value, int | float) and name != "iteration"}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Trackio prints what it does to standard output, which belongs to the command."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
