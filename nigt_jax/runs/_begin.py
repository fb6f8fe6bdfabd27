"""From a configuration and a folder to a run that can begin, or go on as if nothing had happened."""

import contextlib
import dataclasses
from typing import Any, NamedTuple

from nigt_jax.config import Config, check_config, converted, dotted, to_dict
from nigt_jax.environments import Rows, class_name, difference, make_environment
from nigt_jax.errors import UserError
from nigt_jax.records import (
    Change,
    Checkpoints,
    EnvironmentRecord,
    Provenance,
    RunFolder,
    naming_the_writer,
    written_now,
)
from nigt_jax.runs._resources import block_matters, claim_resources, resources
from nigt_jax.runs._start import keep_start, read_start
from nigt_jax.runs._totals import Totals, are_counters
from nigt_jax.runs._writing import own_writes
from nigt_jax.runtimes import Runtime, join_job, make_runtime

_MAY_CHANGE = (
    *("training.iterations", "training.budget", "training.devices", "training.lanes", "training.compilation_cache"),
    *("checkpoint.every", "checkpoint.keep", "checkpoint.keep_best", "environment.max_diverged"),
    *("logging.sinks", "logging.project"),
)
# These decide the numbers from then on, so run.json says when they were changed. The momentum is none of them: the
# gradient to come was asked for at a query point that knows the old one.
_RECORDED = (
    *("method.learning_rate", "method.learning_rate_half_life", "estimator.critic_learning_rate"),
    *("environment.divergence_penalty", "evaluation.every", "evaluation.episodes", "evaluation.seed"),
)
_ONLY = (
    f"of a run that has begun only these may be changed: {', '.join((*_MAY_CHANGE, *_RECORDED))}, and training.block "
    "unless the estimator compares the episodes of a block"
)
# In checkpoints there is no "lowest" before the penalty for breaking the physics, and a "std_eps" of Brax before the
# policy had a normaliser of its own.
_NOT_ALWAYS_THERE = frozenset({"lowest", "std_eps"})


class Begun(NamedTuple):
    """A run before its next round.

    Attributes:
      runtime: what computes its rounds, with its resolved configuration.
      checkpoints: the run's checkpoints.
      state: the state of the newest checkpoint, or the initial one.
      iteration: rounds done.
      totals: counters at the newest checkpoint; empty where there is none.
    """

    runtime: Runtime
    checkpoints: Checkpoints
    state: Any
    iteration: int
    totals: dict[str, Any]


def begin(config: Config, folder: RunFolder, resume: bool, environment: Any, closing: contextlib.ExitStack) -> Begun:
    """Begins a run, or goes on with one, and records in its folder whatever decides its numbers.

    Args:
      config: the run's configuration.
      folder: the run's folder, which exists.
      resume: whether the run has begun.
      environment: instead of the one that the configuration names; None for that one.
      closing: closes checkpoints and runtime in the end, also where the run could not begin.

    Raises:
      UserError: the run cannot go on as it was. Then nothing that it has written is touched.
    """
    before = folder.provenance() if resume else None
    if before is not None and before.shared is not None:
        raise UserError(f"{folder.path}: is a run of a sweep and goes on with it: nigt sweep FOLDER --resume")
    if not resume:
        folder.refuse_strangers(config)
    join_job(config)
    # First of all: whatever else makes JAX look for devices would keep the CPU from being split.
    config, asked = claim_resources(config, before is not None or (resume and folder.begun), before)
    with own_writes(folder):
        checkpoints = Checkpoints(folder.checkpoints, config.checkpoint.keep)
    closing.callback(checkpoints.close)
    with naming_the_writer(before):
        checkpoints.go_back()
        began, totals = _began_with(checkpoints)
    if environment is not None:
        named = converted(config.environment, class_name(environment))
        config = dataclasses.replace(config, environment=named)
    changes: tuple[Change, ...] = ()
    if began is not None:
        changes = _changes(began, config, folder, before, environment, checkpoints.latest or 0)
    start = read_start(config) if began is None else None
    with contextlib.ExitStack() as stack:
        with own_writes(folder, checkpoints):
            bound = before if began is not None else None  # by what was recorded, once something was computed with it
            config, trace = stack.enter_context(folder.keeping_trace(config, bound))
            if start is not None:
                config = keep_start(config, folder)
        made = _rebuilt(config, folder, before) if environment is None else environment
        runtime = make_runtime(config, made, start=start)
        closing.callback(runtime.close)
        if began is not None and block_matters(config):
            _refuse_change(folder, "training.block", began.training.block, runtime.config.training.block, _ONLY)
        probed = runtime.probe()
        if bound is not None:
            _refuse_other_environment(bound, probed, config, folder)
        state, iteration = runtime.initial_state(), checkpoints.latest or 0
        if began is not None:
            with naming_the_writer(before):
                state = runtime.place(checkpoints.state(state, _NOT_ALWAYS_THERE))
        as_object = environment is not None or _was_object(before)
        provenance = Provenance(
            versions=written_now(before, iteration),
            asked=asked,
            resolved=resources(runtime.config),
            platform=runtime.hardware.platform,
            environment=EnvironmentRecord("object" if as_object else "name", probed),
            trace=trace,
            changes=changes,
        )
        with own_writes(folder, checkpoints):
            folder.write_provenance(provenance)
            folder.write_config(runtime.config)
    return Begun(runtime, checkpoints, state, iteration, totals)


def _began_with(checkpoints: Checkpoints) -> tuple[Config | None, dict[str, Any]]:
    """The configuration and the counters of the newest checkpoint, if there is one."""
    if checkpoints.latest is None:
        return None, {}
    notes = checkpoints.notes()
    if not notes.keys() >= {"config", "totals"} or not are_counters(Totals, notes["totals"]):
        raise checkpoints.unreadable("its notes are not complete, or of another version")
    return check_config(notes["config"], str(checkpoints.path), check_files=False), notes["totals"]


def _changes(
    began: Config, config: Config, folder: RunFolder, before: Provenance | None, environment: Any, iteration: int
) -> tuple[Change, ...]:
    """What has been changed since the run began that decides its numbers, from the checkpoint of `iteration` on.

    UserError where something else is not what the checkpoint was made with. Settings that one of the two versions did
    not know have their defaults. What has a better witness than its name is not compared here: recorded times by their
    digest, a given environment by its probe, a block once it is resolved.
    """
    then, now = (dotted(to_dict(c)) for c in (began, folder.portable(config)))
    elsewhere = {"training.block"}
    if environment is not None:
        elsewhere.add("environment.name")
    if before is not None and None not in (before.trace, config.workers.trace):
        elsewhere.add("workers.trace")
    names = [key for key in now if key.endswith((".name", ".kind"))]  # they decide which settings there are
    found = [] if before is None else [change for change in before.changes if change.from_iteration < iteration]
    for key in [*names, *sorted(now.keys() - {*names})]:
        if key in _RECORDED and then[key] != now[key]:
            found.append(Change(iteration, key, then[key], now[key]))
        if key in elsewhere or key in _MAY_CHANGE or key in _RECORDED:
            continue
        forgotten = key == "environment.name" and _was_object(before)
        _refuse_change(folder, key, then[key], now[key], _in_python(folder) if forgotten else _ONLY)
    return tuple(found)


def _refuse_change(folder: RunFolder, key: str, then: Any, now: Any, hint: str) -> None:
    if then != now:
        raise UserError(f"{folder.config}: {key} is {now}, but the run was made with {then}; {hint}")


def _rebuilt(config: Config, folder: RunFolder, before: Provenance | None) -> Any:
    """Another environment of the class that was given; None where none was given, and the configuration says which."""
    if not _was_object(before):
        return None
    try:
        return make_environment(config.environment)
    except UserError as error:
        raise UserError(f"{error}; {_in_python(folder)}") from error


def _refuse_other_environment(before: Provenance, probed: Rows, config: Config, folder: RunFolder) -> None:
    different, versions = difference(before.environment.probe, probed), before.other_versions()
    if different:
        name = config.environment.name
        message = f"{folder.path}: {name} is not the environment that the run was made in: {different}"
        why = f"the run was {versions}" if versions else ""
        hint = _in_python(folder) if _was_object(before) else ""
        raise UserError("; ".join(part for part in (message, why, hint) if part))


def _was_object(before: Provenance | None) -> bool:
    return before is not None and before.environment.given_as == "object"


def _in_python(folder: RunFolder) -> str:
    config = f"nigt_jax.load_config({str(folder.config)!r})"
    return (
        "the run's environment was given in Python, where it goes on with "
        f"nigt_jax.train({config}, {str(folder.path)!r}, resume=True, environment=...)"
    )
