"""The workers as processes of Ray: started, given orders, heard, missed and replaced."""

import contextlib
import ipaddress
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from nigt_jax.config import Config, check_config, to_dict
from nigt_jax.errors import UserError
from nigt_jax.runtimes._runtime import WorkTime
from nigt_jax.runtimes.cluster._members import Member, settings_of
from nigt_jax.runtimes.cluster._messages import Dropped, Event, Lost, Order, Ready, Report
from nigt_jax.training import Unit

_GRACE = 600.0  # seconds that a worker may take to start and compile
_TELLS = 8  # units after which a worker is told that it was heard: it waits where it is too far ahead


class Crew:
    """All workers, as processes of Ray; satisfies :class:`nigt_jax.runtimes.cluster._members.Workers`.

    Args:
      config: the run's configuration.
    """

    def __init__(self, config: Config):
        self._config, self._settings = config, settings_of(config)
        self._alone = _connect(config)
        self.members = [Member() for _ in range(config.workers.count)]
        self._held_since: float | None = None
        self._let_go = time.monotonic()  # when it was held no more
        self._durations: list[WorkTime] = []

    def start(self, worker: int) -> None:
        """Starts a worker, or another one in its place; it is heard of when it is ready."""
        member = self.members[worker]
        member.incarnation += 1
        member.ready, member.heard, member.was_ready, member.since = None, None, False, time.monotonic()
        resources = {"num_cpus": self._settings.worker_cpus, "num_gpus": self._settings.worker_gpus}
        # Never tried again by Ray: a gradient may be counted twice, and who is gone is for the driver to decide.
        options = {"max_restarts": 0, "max_task_retries": 0, **resources}
        environment = {"env_vars": _environment(self._config)}
        actor = _ACTOR.options(runtime_env=environment, **options)
        member.actor = actor.remote(to_dict(self._config), worker, member.incarnation)
        member.stream = member.actor.work.options(concurrency_group="work", num_returns="streaming").remote()
        if self._held_since is not None:
            self._tell(worker, "hold", True)

    def give(self, workers: Iterable[int], order: Order, assignment: Any, since: float | None = None) -> Any:
        """Gives workers an order; the assignment is put into Ray's store once, from where all workers take it."""
        kept = assignment if isinstance(assignment, ray.ObjectRef) else ray.put(assignment)
        asked = None if since is None else (order.number, max(since, self._let_go))
        for worker in workers:
            if self.members[worker].working:
                self.members[worker].note_order(time.monotonic())
                self.members[worker].asked = asked
                self._tell(worker, "give", order, kept)
        return kept

    def hold(self, held: bool) -> None:
        """Has all workers stop where they are, or go on. Nothing is missed of whoever is held."""
        now, before = time.monotonic(), self._held_since
        self._let_go = now
        self._held_since = None if not held else now if before is None else before
        for worker, member in enumerate(self.members):
            if member.actor is not None:
                self._tell(worker, "hold", held)
            if not held and before is not None:
                member.note_held(now - max(before, member.since))

    def wait(self, seconds: float) -> list[Event]:
        """What there is to hear, after so many seconds at most."""
        streams = {member.stream: number for number, member in enumerate(self.members) if member.stream is not None}
        if not streams:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(streams), num_returns=1, timeout=seconds)
        if ready and len(streams) > 1:  # whatever else is there already
            ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
        return [self._next(streams[stream]) for stream in ready]

    def silent(self, busy: Callable[[int], bool], deadline: float) -> list[int]:
        """Workers that should have been heard: not ready in time, or busy and not heard of for so long."""
        now, there = time.monotonic(), [member.actor is not None for member in self.members]
        late = lambda worker, member: there[worker] and member.is_late(now, busy(worker), deadline, _GRACE)
        return [worker for worker, member in enumerate(self.members) if late(worker, member)]

    def totals(self, order: Sequence[int], counts: Mapping[int, int], seconds: float) -> dict[int, Unit | None]:
        """The sums of the first so many units of some workers; as of :class:`Workers`."""
        asked = {worker: self._tell(worker, "total", order[worker], k) for worker, k in counts.items()}
        there, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=seconds)
        found: dict[int, Unit | None] = {}
        for worker, reference in asked.items():
            if reference in there:
                with contextlib.suppress(RayError):
                    found[worker] = ray.get(reference)
        return found

    def durations(self) -> list[WorkTime]:
        """Of every unit that workers have told of since this was asked last."""
        found, self._durations = self._durations, []
        return found

    def dismiss(self, worker: int) -> None:
        """Ends a worker's process, whatever it is doing."""
        member = self.members[worker]
        if member.actor is not None:
            ray.kill(member.actor, no_restart=True)
        member.actor, member.stream, member.ready, member.heard = None, None, None, None

    def close(self) -> None:
        """Ends all workers, and the cluster if it was started for them."""
        with contextlib.suppress(RayError):
            for worker in range(len(self.members)):
                self.dismiss(worker)
        if self._alone:
            ray.shutdown()

    def _tell(self, worker: int, method: str, *arguments: Any) -> ray.ObjectRef:
        """Calls a method of a worker's, beside what it works on."""
        return getattr(self.members[worker].actor, method).options(concurrency_group="control").remote(*arguments)

    def _next(self, worker: int) -> Event:
        member = self.members[worker]
        try:
            event = ray.get(next(member.stream))
        except RayTaskError as error:
            self.dismiss(worker)
            return Lost(worker, f"ended with {type(error.cause).__name__}: {_first_line(error.cause)}")
        except (RayError, StopIteration) as error:
            self.dismiss(worker)
            return Lost(worker, f"is gone ({type(error).__name__})")
        member.heard = time.monotonic()
        if isinstance(event, Ready):
            member.ready, member.was_ready, member.failed_starts = event, True, 0
        elif isinstance(event, Report | Dropped):
            self._durations.append(member.time_of(event, member.heard))
        if isinstance(event, Report) and (event.sequence + 1) % _TELLS == 0:
            self._tell(worker, "heard", event.order, event.sequence + 1)
        return event


def _connect(config: Config) -> bool:
    """Joins the cluster at the address that is given, or starts one of this machine alone, out of reach of others.

    Returns:
      Whether this process has started, or joined, one: it may have been in one before.
    """
    if ray.is_initialized():
        return False
    with _own_signals(), _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of JAX, that processes are started beside its threads
        _join(config)
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray warns of what went as planned, such as that there is a token."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts handlers of its own on SIGTERM and SIGINT; those that were there are put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _join(config: Config) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    address = settings_of(config).address
    if address is None:
        ray.init(num_cpus=max(1, os.cpu_count() or 1), include_dashboard=False, **quiet)
        listening = ray.nodes()[0]["NodeManagerAddress"]
        if not _is_loopback(listening):
            ray.shutdown()
            raise UserError(
                f"runtime.address: a cluster of this machine alone would listen on {listening}; allowed: start Python "
                "with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, or import nigt_jax before ray"
            )
        return
    if not (_is_loopback(address.rpartition(":")[0]) or _has_token() or settings_of(config).without_token):
        raise UserError(
            f"runtime.address: got {address} without a token, so whoever reaches it runs what they like on all its "
            "machines; allowed: RAY_AUTH_MODE=token and the token (docs/cluster.md), or runtime.without_token: true"
        )
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        raise UserError(f"runtime.address: no cluster answers at {address}: {_first_line(error)}") from None


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _has_token() -> bool:
    """Whether Ray authenticates this process by a token: told to, or by default where there is one."""
    mode = os.environ.get("RAY_AUTH_MODE")
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return mode == "token" or (mode is None and (given or Path("~/.ray/auth_token").expanduser().exists()))


def _environment(config: Config) -> dict[str, str]:
    """Variables of a worker's process."""
    platform = config.training.platform
    return {} if platform == "auto" else {"JAX_PLATFORMS": {"gpu": "cuda"}.get(platform, platform)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _Process:
    """A worker in a process of its own. What it tells comes by one thread, what it is told by another."""

    def __init__(self, config: dict[str, Any], number: int, incarnation: int):
        import jax

        jax.config.update("jax_enable_x64", False)
        from nigt_jax.cache import keep_compiled_programs
        from nigt_jax.runtimes.cluster._worker import Worker

        checked = check_config(config, check_files=False)
        if checked.training.compilation_cache:
            keep_compiled_programs()
        self._worker = Worker(checked, number, incarnation)

    def work(self) -> Iterator[Ready | Report | Dropped]:
        yield from self._worker.work()

    def give(self, order: Order, assignment: Any) -> None:
        self._worker.give(order, assignment)

    def hold(self, held: bool) -> None:
        self._worker.hold(held)

    def heard(self, order: int, count: int) -> None:
        self._worker.heard(order, count)

    def total(self, order: int, count: int) -> Unit | None:
        return self._worker.total(order, count)


_ACTOR = ray.remote(concurrency_groups={"work": 1, "control": 1})(_Process)
