"""Figures by name, of whatever `nigt bench` has written: what machines are compared by."""

from pathlib import Path
from typing import Any, NamedTuple

from nigt_jax.errors import RunError, UserError
from nigt_jax.files import read_json
from nigt_jax.records import write_whole


class Measured(NamedTuple):
    """What a file says.

    Attributes:
      path: the file.
      machine: what was measured on.
      figures: numbers by (part, name).
    """

    path: Path
    machine: dict[str, Any]
    figures: dict[tuple[str, str], float]


def stage_figures(report: dict[str, Any]) -> dict[str, float]:
    """The figures of the stages of a round.

    Args:
      report: what :func:`nigt_jax.benchmark.to_json` has written.
    """
    rates = {row["stage"]: float(row["useful_steps_per_second"]) for row in report["stages"]}
    last = report["stages"][-1]
    return {f"{stage}, steps/s": rate for stage, rate in rates.items()} | {
        "round / physics": rates["+ update"] / rates["physics"],
        "round / rollouts": rates["+ update"] / rates["+ storage"],
        "useful / computed": last["useful_steps"] / last["computed_steps"],
        "lanes a device": float(report["setting"]["lanes_per_device"]),
        "compiling, s": sum(float(program["seconds"]) for program in report["programs"]),
    }


def read_measured(path: Path) -> Measured:
    """Reads a file of `nigt bench --json`, with or without `--accelerator`.

    Raises:
      UserError: it is no such file, or cannot be read.
    """
    try:
        found = read_json(path)
        machine = {key: str(found["machine"][key]) for key in ("device", "devices", "cores", "jax", "brax", "date")}
        if found.get("kind") == "accelerator":
            parts = {name: part.get("figures", {}) for name, part in found["parts"].items()}
        else:
            parts = {found["setting"]["environment"]: stage_figures(found)}
        figures = {(part, name): float(x) for part, own in parts.items() for name, x in own.items()}
    except OSError as error:
        raise UserError(f"--compare: {path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError):
        raise UserError(f"--compare: {path}: another kind of file, allowed: what nigt bench --json writes") from None
    return Measured(path, machine, figures)


def write_measured(path: Path, text: str) -> None:
    """Writes a file of `nigt bench --json`, whole or not at all.

    Raises:
      RunError: the disk does not take it.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise RunError(f"{error.filename or path}: cannot be written: {error.strerror or error}") from error
