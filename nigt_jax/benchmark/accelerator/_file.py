"""The file of the figures: read where there is one, so that a second start goes on."""

import json
from pathlib import Path
from typing import Any

from nigt_jax.benchmark._figures import write_measured
from nigt_jax.errors import UserError
from nigt_jax.files import read_json

_SECTIONS = ("machine", "sizes", "parts")
_MAY_DIFFER = ("date", "cores")


def open_figures(path: Path | None, machine: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    """What the file has, or what a new one begins with.

    Args:
      path: the file; None for none.
      machine: what is measured on.
      sizes: how much is measured.

    Returns:
      ``kind``, ``machine``, ``sizes`` and ``parts``.

    Raises:
      UserError: the file is another kind of file, or is of another machine or of other sizes.
    """
    fresh = {"kind": "accelerator", "machine": machine, "sizes": sizes, "parts": {}}
    if path is None or not path.exists():
        return fresh
    found = _read(path)
    for key, own in {"machine": machine, "sizes": json.loads(json.dumps(sizes))}.items():
        for name, value in own.items():
            had = found[key].get(name)
            if name not in _MAY_DIFFER and had != value:
                raise UserError(f"--json: {path} has {name} {had}, and here it is {value}; allowed: another file")
    return found


def write_figures(path: Path | None, figures: dict[str, Any]) -> None:
    """Writes the file, whole or not at all; RunError where the disk does not take it."""
    if path is not None:
        write_measured(path, json.dumps(figures, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
        if found["kind"] == "accelerator" and all(isinstance(found[key], dict) for key in _SECTIONS):
            return found
    except OSError as error:
        raise UserError(f"--json: {path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"--json: {path} is there and is no file of nigt bench --accelerator; allowed: another name")
