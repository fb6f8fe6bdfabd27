"""Policies out of runs: loaded, or written as files that need nothing of ours."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.config import Config
from nigt_jax.environments import ActionSpace
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS, iterate, start
from nigt_jax.policies import ABOUT, Policy
from nigt_jax.records import Checkpoints, naming_the_writer, open_run
from nigt_jax.runs._onnx import onnx_exporter, write_onnx
from nigt_jax.runs._policy_files import read_policy, write_policy
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.runtimes import make_policy

_NEEDED = ("server", "normalizer", "iteration")  # of a state, for the policy in it


def load_policy(run: str | os.PathLike[str], *, iteration: int | None = None) -> TrainedPolicy:
    """Loads the policy of a run's checkpoint, or one that was exported. Neither needs the environment.

    Args:
      run: folder of the run, or one that :func:`nigt_jax.export` has written.
      iteration: of which checkpoint; the newest where it is None.

    Returns:
      The policy.

    Raises:
      UserError: `run` is no run, or has no such checkpoint, or cannot be read.
    """
    if iteration is None and (Path(run) / ABOUT).is_file():
        return read_policy(Path(run))
    with _checkpoint(run, iteration) as (config, checkpoints, row, runs):
        policy = make_policy(config, *_sizes(checkpoints))
        state = checkpoints.fields(jax.eval_shape(functools.partial(_fields, config, policy, runs)))
    state = jax.tree.map(lambda x: x[row], state)
    learnt = iterate(METHODS[config.method.name], state["server"])
    return TrainedPolicy(policy, learnt, state["normalizer"], int(state["iteration"]))


def policy_in(config: Config, state: Any) -> TrainedPolicy:
    """The policy in the state of a run, of the first if there are several."""
    own = jax.tree.map(lambda x: jnp.asarray(x)[0], {name: getattr(state, name) for name in _NEEDED})
    policy = make_policy(config, own["normalizer"].mean.shape[-1], _actions(own["server"].sent))
    learnt = iterate(METHODS[config.method.name], own["server"])
    return TrainedPolicy(policy, learnt, own["normalizer"], int(own["iteration"]))


def lowest_reward(run: str | os.PathLike[str], *, iteration: int | None = None) -> float:
    """The lowest reward of a step that a run had met, on which what broken physics costs may depend; 0 at most."""
    with _checkpoint(run, iteration) as (_, checkpoints, row, runs):
        return float(checkpoints.fields({"lowest": jax.ShapeDtypeStruct((runs,), jnp.float32)})["lowest"][row])


@contextlib.contextmanager
def _checkpoint(run: str | os.PathLike[str], iteration: int | None) -> Iterator[tuple[Config, Checkpoints, int, int]]:
    """A run's configuration, its checkpoints, the run's place in them, and how many runs they are of."""
    folder, config = open_run(Path(run), check_files=False)
    written = folder.provenance()
    shared = None if written is None else written.shared
    path, row = (folder.checkpoints, 0) if shared is None else (folder.path / shared.checkpoints, shared.row)
    checkpoints = Checkpoints(path, config.checkpoint.keep, iteration) if path.is_dir() else None
    if checkpoints is None or checkpoints.latest is None:
        raise UserError(f"{run}: has no checkpoint yet")
    if iteration is not None and iteration not in checkpoints.all:
        there = ", ".join(map(str, checkpoints.all))
        raise UserError(f"{run}: has no checkpoint of iteration {iteration}, allowed: {there}")
    with contextlib.closing(checkpoints), naming_the_writer(written), jax.enable_x64(False):  # as training
        runs = [config] if shared is None else checkpoints.notes().get("runs")
        if not isinstance(runs, list) or row >= len(runs):
            raise checkpoints.unreadable("its notes do not know this run")
        yield config, checkpoints, row, len(runs)


def export(
    run: str | os.PathLike[str], folder: str | os.PathLike[str], *, iteration: int | None = None, onnx: bool = False
) -> TrainedPolicy:
    """Writes the policy of a run as arrays and JSON, beside a NumPy file that acts with them.

    Args:
      run: folder of the run.
      folder: where to; made, and not there yet.
      iteration: of which checkpoint; the newest where it is None.
      onnx: whether to write the policy without noise as an ONNX model, too: ``policy.onnx``, from ``observation`` of
        shape [B, obs] to ``action``.

    Returns:
      The policy.

    Raises:
      UserError: `run` is no run, or has no such checkpoint; `folder` is there; the network is one of the user's own;
        what writes ONNX is not installed.
      RunError: it cannot be written.
    """
    _, config = open_run(Path(run), check_files=False)
    trained, folder = load_policy(run, iteration=iteration), Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: is there already, allowed: a folder that is not")
    if onnx:
        onnx_exporter()  # before anything is written
    write_policy(trained, config, folder)
    if onnx:
        write_onnx(trained, folder)
    return trained


def _actions(params: Any) -> ActionSpace:
    """The actions of a policy, as they show in the heads of its network."""
    layers = params["params"]
    discrete = "logits" in layers
    return ActionSpace(discrete, layers["logits" if discrete else "mean"]["bias"].shape[-1])


def _sizes(checkpoints: Checkpoints) -> tuple[int, ActionSpace]:
    """Of observations, and the actions, as they show in the shapes of what was learnt."""
    state = checkpoints.shapes()
    try:
        return state["normalizer"]["mean"].shape[-1], _actions(state["server"]["sent"])
    except (LookupError, TypeError, AttributeError):
        raise checkpoints.unreadable("it holds no policy of this package", whole=True) from None


def _fields(config: Config, policy: Policy, runs: int) -> dict[str, Any]:
    """What a TrainState has of the policy, before the first round."""
    method = METHODS[config.method.name]
    server = start(method, policy.init(jax.random.key(0)), method.hyperparameters(config.method))
    fields = {"server": server, "normalizer": policy.init_normalizer(), "iteration": jnp.zeros([], jnp.int32)}
    return jax.tree.map(lambda x: jnp.stack([x] * runs), fields)
