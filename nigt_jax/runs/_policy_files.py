"""A policy as plain arrays and JSON, which need neither this package nor its environment, and back."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.config import Config, to_dict
from nigt_jax.errors import RunError, UserError
from nigt_jax.methods import Iterate
from nigt_jax.policies import MOST_DEVIATIONS, CategoricalMLP, GaussianMLP, Policy, init_normalizer
from nigt_jax.records import installed_versions, write_whole
from nigt_jax.runs import _numpy_policy
from nigt_jax.runs._trained import TrainedPolicy

ABOUT, ARRAYS, CODE = "policy.json", "policy.npz", "policy.py"
_FORMAT = 1


def write_policy(trained: TrainedPolicy, config: Config, folder: Path) -> None:
    """Writes a policy into a folder, over another one if there is one.

    Raises:
      UserError: its network is one of the user's own.
      RunError: it cannot be written.
    """
    about = {
        "format": _FORMAT,
        "observation_size": trained.policy.observation_size,
        **_network(trained.policy.network),
        "normalize": trained.policy.normalize,
        "clip": MOST_DEVIATIONS,
        "iteration": int(trained.iteration),
        "environment": to_dict(config.environment),
        "method": config.method.name,
        "seed": config.seed,
        "versions": installed_versions(),
    }
    arrays = {name: np.asarray(jax.device_get(array), np.float32) for name, array in _named(trained)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{ARRAYS}"
        with new.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # of one that is none of ours
        new.replace(folder / ARRAYS)
        write_whole(folder / ABOUT, json.dumps(about, indent=1) + "\n")
        write_whole(folder / CODE, Path(_numpy_policy.__file__).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def read_policy(folder: Path) -> TrainedPolicy:
    """The policy that :func:`write_policy` has written. UserError where something else is there."""
    about = _about(folder)
    policy = Policy(_described(about), about["observation_size"], about["normalize"])
    normalizer = init_normalizer(policy.observation_size)
    empty = TrainedPolicy(policy, Iterate(policy.init(jax.random.key(0))), normalizer, about["iteration"])
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            found = {name: jnp.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder / ARRAYS}: cannot be read: {error}") from None
    wanted = {name: tuple(array.shape) for name, array in _named(empty)}
    if {name: tuple(array.shape) for name, array in found.items()} != wanted:
        raise UserError(f"{folder / ARRAYS}: does not hold what {ABOUT} beside it says")
    layers: dict[str, dict[str, Any]] = {}
    for name in wanted:
        layer, _, kind = name.rpartition("_")
        layers.setdefault(layer, {})[kind] = found[name]
    seen = layers.pop("observation")
    params = {"params": {layer.replace("hidden", "Dense_"): each for layer, each in layers.items()}}
    return TrainedPolicy(policy, Iterate(params), normalizer._replace(**seen), about["iteration"])


def _network(network: Any) -> dict[str, Any]:
    """What a network is, as JSON. UserError where it is one of the user's own."""
    if isinstance(network, GaussianMLP):
        kind = {"distribution": "tanh_gaussian", "action_size": network.action_size, "action_range": [-1.0, 1.0]}
        more = {"min_std": network.min_std}
    elif isinstance(network, CategoricalMLP):
        kind, more = {"distribution": "categorical", "num_actions": network.num_actions}, {}
    else:
        raise UserError(f"the policy's network is a {type(network).__name__}, allowed: GaussianMLP, CategoricalMLP")
    return kind | {"hidden_sizes": list(network.hidden_sizes), "activation": "tanh"} | more


def _described(about: dict[str, Any]) -> Any:
    """The network of such a description."""
    sizes = tuple(about["hidden_sizes"])
    if about["distribution"] == "categorical":
        return CategoricalMLP(about["num_actions"], sizes)
    return GaussianMLP(about["action_size"], sizes, about["min_std"])


def _about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise UserError(f"{path}: got format {about['format']!r}, allowed: {_FORMAT}; a newer version wrote it")
        about.setdefault("distribution", "tanh_gaussian")  # version 0.1 knew no other
        discrete = about["distribution"] == "categorical"
        whole = ("observation_size", "num_actions" if discrete else "action_size", "iteration")
        right = all(isinstance(about[key], int) for key in whole) and isinstance(about["normalize"], bool)
        right = right and all(isinstance(size, int) and size > 0 for size in about["hidden_sizes"])
        if not right or not (discrete or 0 < float(about["min_std"]) < 1):
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError):
        raise UserError(f"{path}: is damaged, or no description of a policy") from None
    return about


def _named(trained: TrainedPolicy) -> Iterator[tuple[str, Any]]:
    """All arrays of a policy, with the names that they have in a file."""
    for layer, arrays in trained.model.params["params"].items():
        for kind, array in arrays.items():
            yield f"{layer.replace('Dense_', 'hidden')}_{kind}", array
    yield "observation_mean", trained.normalizer.mean
    yield "observation_std", trained.normalizer.std
