"""A policy as plain arrays and JSON, which need neither this package nor its environment, and back."""

import json
from pathlib import Path

import numpy as np

from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunError
from nigt_jax.files import new_file
from nigt_jax.methods import Iterate
from nigt_jax.policies import ABOUT, ARRAYS, describe_policy, policy_arrays, read_policy_files
from nigt_jax.records import installed_versions, write_whole
from nigt_jax.runs import _numpy_policy
from nigt_jax.runs._trained import TrainedPolicy

CODE = "policy.py"


def write_policy(trained: TrainedPolicy, config: Config, folder: Path) -> None:
    """Writes a policy into a folder, over another one if there is one.

    Raises:
      UserError: its network is one of the user's own.
      RunError: it cannot be written.
    """
    about = describe_policy(trained.policy) | {
        "iteration": int(trained.iteration),
        "environment": to_dict(config.environment),
        "method": config.method.name,
        "seed": config.seed,
        "versions": installed_versions(),
    }
    arrays = policy_arrays(trained.model.params, trained.normalizer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{ARRAYS}"
        with new_file(new, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # of one that is none of ours
        new.replace(folder / ARRAYS)
        write_whole(folder / CODE, Path(_numpy_policy.__file__).read_text(encoding="utf-8"))
        write_whole(folder / ABOUT, json.dumps(about, indent=1) + "\n")  # the last: where it is, the others are
    except OSError as error:
        raise RunError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def read_policy(folder: Path) -> TrainedPolicy:
    """The policy that :func:`write_policy` has written. UserError where something else is there."""
    policy, params, normalizer, iteration = read_policy_files(folder)
    return TrainedPolicy(policy, Iterate(params), normalizer, iteration)
