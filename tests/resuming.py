"""Runs that stop before their first round, and what a resume of them says."""

import json
import threading

import pytest

from nigt_jax.cli import main
from nigt_jax.config import check_config, load_config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.runs import train

TIMES = "worker,duration\n1,1.0\n2,2.5\n1,0.5\n"


def config(iterations=6, method=None, **sections):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": "return_to_go"},
            "method": {"batch_size": 4, "learning_rate": 0.1, **(method or {})},
            "training": {"iterations": iterations, "chunk": 3, "devices": 2},
            "evaluation": {"every": 3, "episodes": 4},
            "checkpoint": {"every": 3, "keep": 2},
        }
        | sections
    )


def begun(cfg, folder, **options):
    """A run that is told to stop before its first round: a folder with everything in it, and nothing was compiled."""
    stop = threading.Event()
    stop.set()
    return train(cfg, folder, interrupted=stop, **options)


def go_on(folder, cfg=None, **options):
    """Up to where the first round would be."""
    return begun(load_config(folder / "config.yaml") if cfg is None else cfg, folder, resume=True, **options)


def changed(folder, **overrides):
    """The run's configuration with other settings."""
    return check_config(to_dict(load_config(folder / "config.yaml")), overrides=overrides)


def refused(folder, cfg=None, **options):
    """The one line that a resume is refused with; it touches nothing."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(UserError) as caught:
        go_on(folder, cfg, **options)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def recorded(folder):
    return json.loads((folder / "run.json").read_text())


def change(folder, **changes):
    (folder / "run.json").write_text(json.dumps(recorded(folder) | changes))


def command_line(folder, capsys):
    """Exit status and messages of `nigt train RUN --resume`."""
    status = main(["train", str(folder), "--resume"])
    return status, capsys.readouterr().err


def refused_by_command_line(folder, capsys):
    status, message = command_line(folder, capsys)
    assert (status, message.count("\n")) == (2, 1)
    return message


def resources(folder):
    return recorded(folder)["asked"], recorded(folder)["resolved"]
