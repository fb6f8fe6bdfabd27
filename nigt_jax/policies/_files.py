"""A policy as JSON and plain arrays: what a description of its network says, and what its arrays are called."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.errors import UserError
from nigt_jax.files import MOST_SETTINGS, MOST_TABLE, check_regular, read_json
from nigt_jax.policies._networks import CategoricalMLP, GaussianMLP
from nigt_jax.policies._normalizer import MOST_DEVIATIONS, Count, Normalizer, init_normalizer
from nigt_jax.policies._policy import Policy

ABOUT, ARRAYS = "policy.json", "policy.npz"
_FORMAT = 1
_LARGEST = 2**31 - 1
_MOST_LAYERS = 1000
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
    fresh = jax.eval_shape(lambda: (policy.init(jax.random.key(0)), init_normalizer(policy.observation_size)))
    wanted = jax.eval_shape(lambda trees: dict(_named(*trees)), fresh)
    found = _arrays(folder / ARRAYS, {name: (array.shape, np.dtype(array.dtype)) for name, array in wanted.items()})
    layers: dict[str, dict[str, Any]] = {}
    for name in wanted:
        layer, _, kind = name.rpartition("_")
        if not name.startswith(_SEEN):
            layers.setdefault(layer.replace("hidden", "Dense_"), {})[kind] = found[name]
    seen = {name.removeprefix(_SEEN): array for name, array in found.items() if name.startswith(_SEEN)}
    normalizer = Normalizer(Count(*seen.pop("count")), **seen)
    return policy, {"params": layers}, normalizer, about["iteration"]


def _arrays(path: Path, wanted: dict[str, tuple[tuple[int, ...], np.dtype]]) -> dict[str, Any]:
    """The arrays of a file by name, once their headers say what is wanted, and it is large enough to hold them."""
    bytes_of = sum(math.prod(shape) * dtype.itemsize for shape, dtype in wanted.values())
    try:
        check_regular(path, MOST_TABLE)
        with zipfile.ZipFile(path) as file:
            there = {name.removesuffix(".npy"): _header(file, name) for name in file.namelist()}
        if there != wanted or path.stat().st_size < bytes_of:  # our files are not compressed
            raise UserError(f"{path}: does not hold what {ABOUT} beside it says")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: jnp.asarray(arrays[name]) for name in wanted}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _header(file: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of an array in a file."""
    with file.open(name) as array:
        version = np.lib.format.read_magic(array)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(array)
    return shape, dtype


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
        about = read_json(path, MOST_SETTINGS)
        if about["format"] != _FORMAT:
            raise UserError(f"{path}: got format {about['format']!r}, allowed: {_FORMAT}; a newer version wrote it")
        discrete = about["distribution"] == "categorical"
        whole = ("observation_size", "num_actions" if discrete else "action_size", "iteration")
        right = all(_is_size(about[key]) for key in whole) and isinstance(about["normalize"], bool)
        right = right and len(about["hidden_sizes"]) <= _MOST_LAYERS
        right = right and all(_is_size(size) and size > 0 for size in about["hidden_sizes"])
        if not right or not (discrete or 0 < float(about["min_std"]) < 1):
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError):
        raise UserError(f"{path}: is damaged, or no description of a policy") from None
    return about


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
