"""A policy as JSON and plain arrays: what a description of its network says, and what its arrays are called."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.errors import UserError
from nigt_jax.policies._networks import CategoricalMLP, GaussianMLP
from nigt_jax.policies._normalizer import MOST_DEVIATIONS, Count, Normalizer, init_normalizer
from nigt_jax.policies._policy import Policy

ABOUT, ARRAYS = "policy.json", "policy.npz"
_FORMAT = 1
_SEEN = "observation_"


def describe_policy(policy: Policy) -> dict[str, Any]:
    """What a policy is, for ``policy.json``. UserError where its network is one of the user's own."""
    network = policy.network
    if isinstance(network, GaussianMLP):
        kind = {"distribution": "tanh_gaussian", "action_size": network.action_size, "action_range": [-1.0, 1.0]}
        more = {"min_std": network.min_std}
    elif isinstance(network, CategoricalMLP):
        kind, more = {"distribution": "categorical", "num_actions": network.num_actions}, {}
    else:
        raise UserError(f"the policy's network is a {type(network).__name__}, allowed: GaussianMLP, CategoricalMLP")
    layers = {"hidden_sizes": list(network.hidden_sizes), "activation": "tanh"}
    seen = {"observation_size": policy.observation_size, "normalize": policy.normalize, "clip": MOST_DEVIATIONS}
    return {"format": _FORMAT} | kind | layers | more | seen


def policy_arrays(params: Any, normalizer: Normalizer) -> dict[str, np.ndarray]:
    """All arrays of a policy, with the names that they have in ``policy.npz``."""
    return {name: np.asarray(jax.device_get(array)) for name, array in _named(params, normalizer)}


def read_policy_files(folder: Path) -> tuple[Policy, Any, Normalizer, int]:
    """What two files in a folder hold: the policy, its parameters, its statistics, and the rounds that it has seen.

    Raises:
      UserError: they are not there, are damaged, or do not belong together.
    """
    about = _about(folder / ABOUT)
    policy = Policy(_network(about), about["observation_size"], about["normalize"])
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            found = {name: jnp.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder / ARRAYS}: cannot be read: {error}") from None
    fresh = jax.eval_shape(policy.init, jax.random.key(0)), init_normalizer(policy.observation_size)
    wanted = {name: (array.shape, array.dtype) for name, array in _named(*fresh)}
    if {name: (array.shape, array.dtype) for name, array in found.items()} != wanted:
        raise UserError(f"{folder / ARRAYS}: does not hold what {ABOUT} beside it says")
    layers: dict[str, dict[str, Any]] = {}
    for name in wanted:
        layer, _, kind = name.rpartition("_")
        if not name.startswith(_SEEN):
            layers.setdefault(layer.replace("hidden", "Dense_"), {})[kind] = found[name]
    seen = {name.removeprefix(_SEEN): array for name, array in found.items() if name.startswith(_SEEN)}
    normalizer = Normalizer(Count(*seen.pop("count")), **seen)
    return policy, {"params": layers}, normalizer, about["iteration"]


def _named(params: Any, normalizer: Normalizer) -> Iterator[tuple[str, Any]]:
    for layer, arrays in params["params"].items():
        for kind, array in arrays.items():
            yield f"{layer.replace('Dense_', 'hidden')}_{kind}", array
    for name, array in normalizer._asdict().items():
        yield _SEEN + name, jnp.stack(array) if name == "count" else array


def _network(about: dict[str, Any]) -> Any:
    sizes = tuple(about["hidden_sizes"])
    if about["distribution"] == "categorical":
        return CategoricalMLP(about["num_actions"], sizes)
    return GaussianMLP(about["action_size"], sizes, about["min_std"])


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise UserError(f"{path}: got format {about['format']!r}, allowed: {_FORMAT}; a newer version wrote it")
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
