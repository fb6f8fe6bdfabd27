"""How the processes of a job find each other, and part again."""

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any, NamedTuple, cast

import jax

from nigt_jax.config import Config, LockstepRuntimeConfig
from nigt_jax.errors import UserError

COORDINATOR, PROCESSES, PROCESS = VARIABLES = ("NIGT_COORDINATOR", "NIGT_PROCESSES", "NIGT_PROCESS")
SILENCE = "NIGT_SILENCE"  # seconds; only what this module starts has it
_PATIENCE = 300  # seconds in which all processes have to be there
_GRACE = 15.0  # seconds in which the leader should have noticed by itself that another process has ended


class _Started(NamedTuple):
    """A process that this one has started, and what it writes to standard error."""

    process: subprocess.Popen
    errors: IO[bytes]


_started: list[_Started] = []
_broken: list[int] = []  # exit statuses, where the processes cannot part in peace
_listening = [True]  # whether the others wait to be told something


def number_of_processes(config: Config) -> int:
    """How many processes a job in lockstep will have, as far as that can be told before they are there; else 1."""
    own = cast(LockstepRuntimeConfig, config.runtime).processes
    told = (os.environ.get(name) for name in (PROCESSES, "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    return own or next((int(text) for text in told if text and text.isdecimal() and int(text)), 1)


def join(config: Config) -> None:
    """Makes this process one of a job, before anything has looked for devices. Nothing happens where it is in one.

    With ``runtime.processes`` this process leads, and starts the others. Otherwise a scheduler has started all of
    them: Slurm, Open MPI and Kubernetes are known to JAX, and elsewhere the variables NIGT_COORDINATOR (host:port of
    process 0), NIGT_PROCESSES and NIGT_PROCESS (from 0) say it.

    Args:
      config: of a run in lockstep.

    Raises:
      UserError: there is no job to join, or not all of its processes have come.
    """
    if jax.distributed.is_initialized():
        return
    settings = cast(LockstepRuntimeConfig, config.runtime)
    if settings.processes is None or COORDINATOR in os.environ:
        join_others(settings.silence)
    else:
        _start_others(config, settings)


def join_others(silence: float) -> None:
    """Joins the job that the environment describes."""
    given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if given and len(given) < len(VARIABLES):
        missing = ", ".join(sorted({*VARIABLES} - {*given}))
        raise UserError(f"{missing}: not set, allowed: all of {', '.join(VARIABLES)}, or none of them")
    known: dict[str, Any] = {}
    if given:
        known["coordinator_address"] = given[COORDINATOR]
        known |= {"num_processes": _number(PROCESSES, 1), "process_id": _number(PROCESS, 0)}
    _initialize(silence, **known)


def _number(name: str, least: int) -> int:
    with contextlib.suppress(ValueError):
        if int(os.environ[name]) >= least:
            return int(os.environ[name])
    raise UserError(f"{name}: got {os.environ[name]}, allowed: integers from {least}")


def _start_others(config: Config, settings: LockstepRuntimeConfig) -> None:
    """Starts the other processes on this machine, each with its share of the cores or a GPU of its own."""
    count = cast(int, settings.processes)
    coordinator = f"127.0.0.1:{_free_port()}"
    of_all = {COORDINATOR: coordinator, PROCESSES: str(count), SILENCE: str(settings.silence)}
    of_all["JAX_NUM_CPU_DEVICES"] = str(jax.config.jax_num_cpu_devices)  # type: ignore[attr-defined]
    platform = config.training.platform
    if platform != "auto":
        of_all["JAX_PLATFORMS"] = {"gpu": "cuda"}.get(platform, platform)
    for number in range(1, count):
        own = {PROCESS: str(number)} | ({"JAX_LOCAL_DEVICE_IDS": str(number)} if platform == "gpu" else {})
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (read when the process has ended)
        process = subprocess.Popen(
            [sys.executable, "-m", "nigt_jax.runtimes.lockstep"],
            env=os.environ | of_all | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the one who leads
        )
        _started.append(_Started(process, errors))
    threading.Thread(target=_watch, daemon=True).start()
    own_devices = [0] if platform == "gpu" else None
    _initialize(
        settings.silence,
        coordinator_address=coordinator,
        coordinator_bind_address=coordinator,
        num_processes=count,
        process_id=0,
        local_device_ids=own_devices,
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _initialize(silence: float, **known: Any) -> None:
    atexit.register(_part)
    # JAX would listen to SIGTERM itself, and nobody else would hear it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            initialization_timeout=_PATIENCE,
            heartbeat_timeout_seconds=round(silence),
            shutdown_timeout_seconds=round(silence),
            **known,
        )
    except (ValueError, RuntimeError) as error:
        note_broken(status=2)
        raise UserError(
            f"runtime.processes: there is no job to join: {str(error).splitlines()[0]}; allowed: a number of processes "
            f"to start on this machine, a scheduler that JAX knows, or {', '.join(VARIABLES)}"
        ) from None


def note_broken(status: int = 1) -> None:
    """Remembers that the processes cannot part in peace, as one of them is gone, and this one's exit status."""
    _broken.append(status)


def note_listening(listening: bool) -> None:
    """Remembers whether the other processes wait to be told something: a scheduler's end by themselves after a run."""
    _listening[0] = listening


def who_has_ended() -> str:
    """Of the processes that this one has started, one that has ended, and its last words; empty where none has."""
    until = time.monotonic() + 2.0  # a connection may break before its process is seen to be gone
    while _started and time.monotonic() < until:
        for number, (process, errors) in enumerate(_started, start=1):
            if process.poll() is not None:
                return f"process {number} ended with status {process.returncode}{_last_words(errors)}"
        time.sleep(0.05)
    return ""


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    said = [line for line in errors.read().decode(errors="replace").splitlines() if line.startswith("nigt: ")]
    return f": {said[-1].removeprefix('nigt: ')}" if said else ""


def _watch() -> None:
    """Ends this process where another one has ended and this one waits for it in XLA, which does not always notice."""
    while not any(process.poll() for process, _ in _started):
        time.sleep(0.5)
    time.sleep(_GRACE)
    if not _broken:
        print(
            f"nigt: the job in lockstep cannot go on: {who_has_ended()}; nigt train RUN --resume goes on from the last "
            "checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def _part() -> None:
    """Leaves the job, at the end of this process."""
    if not _broken:
        from nigt_jax.runtimes.lockstep._link import say_goodbye

        with contextlib.suppress(Exception):
            if jax.process_index() == 0 and (_started or _listening[0]):
                say_goodbye()
            jax.distributed.shutdown()
        for process, _ in _started:
            process.wait()
        return
    for process, _ in _started:
        process.kill()
        process.wait()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_broken[0])  # JAX's own end would wait for processes that are gone, and then abort
