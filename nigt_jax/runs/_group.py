"""``train_group``: runs that share a program, each in a folder of its own; their state is in one checkpoint."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from nigt_jax.config import Config, to_dict
from nigt_jax.errors import UserError, enough_memory
from nigt_jax.records import Checkpoints, EnvironmentRecord, Provenance, RunFolder, Shared, Trace, written_now
from nigt_jax.runs._ledger import Ledger
from nigt_jax.runs._loop import Loop, Reached, Told
from nigt_jax.runs._resources import resources
from nigt_jax.runs._standing import Standing
from nigt_jax.runs._start import read_start
from nigt_jax.runs._totals import Totals, are_counters
from nigt_jax.runs._writing import own_writes
from nigt_jax.runtimes import SimulatedRuntime


def train_group(
    configs: Sequence[Config],
    folders: Sequence[RunFolder],
    shared: Path,
    *,
    room: int = 0,
    known: SimulatedRuntime | None = None,
    tell: Callable[[Told], None],
    interrupted: threading.Event,
) -> tuple[list[Standing], SimulatedRuntime]:
    """Runs, or goes on with, runs that share a program. What breaks one of many does not end the others.

    Args:
      configs: the runs' configurations; see :func:`nigt_jax.training.check_runs` for what they may differ in.
      folders: a folder for each.
      shared: folder of what they have in common, in which their checkpoints are; made where it is not there.
      room: number of runs that the program is made for, if these are fewer; see
        :class:`nigt_jax.runtimes.SimulatedRuntime`.
      known: the runtime of earlier runs of the same kind, with as much room, whose programs are used again.
      tell: called after every chunk.
      interrupted: looked at between chunks.

    Returns:
      How far each run is; all of it is in a checkpoint. And the runtime.

    Raises:
      UserError: the runs cannot share a program; what is in the folders cannot be read, or is of other runs.
      RunError: as :func:`nigt_jax.train`, where there is a single run.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(False))
        stack.enter_context(enough_memory())
        claimed = RunFolder(shared)
        with own_writes(claimed):
            for path in (shared, *(folder.path for folder in folders)):
                path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(claimed.claimed())
            for folder in (claimed, *folders):
                folder.refuse_links()
            checkpoints = Checkpoints(shared / "checkpoints", max(config.checkpoint.keep for config in configs))
        stack.callback(checkpoints.close)
        own, traces = _keeping_traces(configs, folders, stack)
        runtime = _runtime_of(own, room) if known is None else known.for_runs(own)
        loop = _begin(runtime, own, folders, traces, checkpoints, claimed, tell)
        loop.work(interrupted)
        return list(loop.reached.standings), runtime


def _keeping_traces(
    configs: Sequence[Config], folders: Sequence[RunFolder], stack: contextlib.ExitStack
) -> tuple[list[Config], list[Trace | None]]:
    """The configurations with the runs' own copies of recorded times, and these."""
    kept = []
    for config, folder in zip(configs, folders, strict=True):
        with own_writes(folder):
            kept.append(stack.enter_context(folder.keeping_trace(config, folder.provenance())))
    return [config for config, _ in kept], [trace for _, trace in kept]


def _runtime_of(configs: Sequence[Config], room: int) -> SimulatedRuntime:
    """The runtime of all runs."""
    start = read_start(configs[0])  # of all: it is part of the program
    if max(len(configs), room) == 1:
        return SimulatedRuntime(configs[0], start=start)
    largest = max(configs, key=lambda config: config.method.largest_batch)
    return SimulatedRuntime(largest, start=start, runs=configs, room=room)


def _begin(
    runtime: SimulatedRuntime,
    configs: Sequence[Config],
    folders: Sequence[RunFolder],
    traces: Sequence[Trace | None],
    checkpoints: Checkpoints,
    claimed: RunFolder,
    tell: Callable[[Told], None],
) -> Loop:
    """The loop before its next chunk, from the newest checkpoint if there is one."""
    shared = claimed.path
    own = [to_dict(folder.portable(config)) for config, folder in zip(configs, folders, strict=True)]
    known: list[dict[str, Any]] = [{} for _ in configs]
    state = runtime.initial_state()
    checkpoints.go_back()
    if checkpoints.latest is not None:
        notes = checkpoints.notes()
        found = notes.get("runs")
        if not isinstance(found, list) or not all(map(_is_known, found)):
            raise checkpoints.unreadable("its notes are not complete, or of another version")
        if [run["config"] for run in found] != own:
            raise UserError(f"{shared}: its checkpoints are those of other runs; take another folder")
        known, state = found, runtime.place(checkpoints.state(runtime.unplaced(state)))
    iterations = [then.get("iteration", 0) for then in known]
    _record(runtime, configs, folders, traces, iterations, shared)
    writing = lambda: own_writes(claimed, checkpoints)
    ledgers, standings = [], []
    for config, folder, then in zip(configs, folders, known, strict=True):
        ledger = Ledger(config, folder, then.get("iteration", 0), writing)
        standing = ledger.standing(Totals(**then.get("totals", {})))
        ledgers.append(ledger)
        standings.append(standing._replace(failed=then.get("failed")))

    def notes_of(standings: Sequence[Standing]) -> dict[str, Any]:
        return {
            "runs": [
                {
                    "iteration": standing.amounts.iterations,
                    "totals": dataclasses.asdict(standing.totals),
                    "failed": standing.failed,
                    "config": config,
                }
                for standing, config in zip(standings, own, strict=True)
            ]
        }

    return Loop(runtime, checkpoints, ledgers, Reached(state, tuple(standings)), notes_of, writing, tell)


def _is_known(run: Any) -> bool:
    """Whether something is what a checkpoint notes of a run."""
    whole = isinstance(run, dict) and run.keys() >= {"config", "iteration", "totals"}
    return whole and isinstance(run["iteration"], int) and are_counters(Totals, run["totals"])


def _record(
    runtime: SimulatedRuntime,
    configs: Sequence[Config],
    folders: Sequence[RunFolder],
    traces: Sequence[Trace | None],
    iterations: Sequence[int],
    shared: Path,
) -> None:
    """Writes what decides the runs' numbers into their folders."""
    probed, checkpoints = runtime.probe(), f"../../{shared.parent.name}/{shared.name}/checkpoints"
    for row, (config, folder) in enumerate(zip(configs, folders, strict=True)):
        provenance = Provenance(
            versions=written_now(folder.provenance(), iterations[row]),
            asked=resources(config),
            resolved=resources(runtime.config),
            platform=runtime.hardware.platform,
            environment=EnvironmentRecord("name", probed),
            trace=traces[row],
            shared=Shared(checkpoints, row),
        )
        with own_writes(folder):
            folder.write_provenance(provenance)
            folder.write_config(config)
