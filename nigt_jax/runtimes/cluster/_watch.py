"""Hears the workers, replaces who is lost, and expels who sends what cannot be."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nigt_jax.config import Config
from nigt_jax.errors import RunError
from nigt_jax.runtimes.cluster._members import Workers, settings_of
from nigt_jax.runtimes.cluster._messages import Lost, Ready, Report
from nigt_jax.training import Unit

_LOOK = 0.2  # seconds after which the driver looks who is missing, if it hears nothing


class Done(NamedTuple):
    """What a round, or an update, was.

    Attributes:
      gradients: gradients counted.
      discarded: gradients that were begun and not counted.
      uploads: messages of the parameters' size to the driver.
      downloads: likewise, to workers.
      delay: updates between the query point of the gradient and the update.
      total: what the counted ones bring together.
      norm: norm of the direction that was absorbed.
    """

    gradients: int
    discarded: int
    uploads: int
    downloads: int
    delay: int
    total: Unit
    norm: float


class Watch:
    """Hears the workers, and keeps as many at work as there should be.

    Args:
      config: the run's configuration.
      crew: the workers.
      serve: called with a worker that is ready and has no order; gives it one.
      lose: called with a worker whose unfinished work is lost.
      busy: whether a worker should be at work, and so be heard of before long.
    """

    def __init__(
        self,
        config: Config,
        crew: Workers,
        serve: Callable[[int], None],
        lose: Callable[[int], None],
        busy: Callable[[int], bool],
    ):
        self._settings, self._crew = settings_of(config), crew
        self._serve, self._lose, self._busy = serve, lose, busy
        self._without: set[int] = set()  # workers that were waited for in vain

    def hear(self) -> list[Report]:
        """What workers have done; waits a moment for the first of it."""
        reports = []
        for event in self._crew.wait(_LOOK):
            if isinstance(event, Report):
                reports.append(event)
            elif isinstance(event, Ready):
                self._serve(event.worker)
            elif isinstance(event, Lost):
                self._replace(event)
        for worker in self._crew.silent(self._busy, self._settings.deadline):
            self._crew.dismiss(worker)
            self._again(Lost(worker, "was not heard of in time"))  # it may have waited for a place in the cluster
        return reports

    def wait_until_ready(self, seconds: float) -> None:
        """Waits for all workers, or so long; and on for the first of them."""
        until = time.monotonic() + seconds
        while not all(member.working or member.expelled or member.away for member in self._crew.members):
            if time.monotonic() > until and any(member.working for member in self._crew.members):
                return
            self.hear()

    def want(self, number: int) -> None:
        """Has the first so many workers be there, and no others; those that come join when they are ready."""
        for worker, member in enumerate(self._crew.members):
            if worker >= number and not member.away:
                self._crew.dismiss(worker)
                member.away, member.news = True, "was let go"
                self._lose(worker)
            elif worker < number and member.away:
                member.away, member.news = False, "was called" if member.incarnation >= 0 else ""
                if not member.expelled:
                    self._crew.start(worker)

    def taking_part(self) -> list[int]:
        """Who takes part in a round that begins: all that should be there, but for who was waited for in vain.

        Who is back takes part again. Where nobody else should be there, those that are gone are waited for once more.
        """
        members = self._crew.members
        here = {worker for worker, member in enumerate(members) if not member.away}
        self._without -= {worker for worker in here if members[worker].working}
        if here <= self._without:
            self._without -= here  # a round of nobody has no rule
        return sorted(here - self._without)

    def do_without(self, missing: Sequence[int], taking_part: int) -> None:
        """Notes that a round goes on without workers that it has waited for in vain, where that is allowed.

        Raises:
          RunError: it is not, nobody is left, or nobody is missing and there are too few all the same.
        """
        if not self._settings.without_the_lost or len(missing) in (0, taking_part):
            who = ", ".join(str(worker + 1) for worker in missing)
            for_whom = f"for workers that are gone: {who}" if missing else "and has too few workers"
            raise RunError(f"the round has waited {self._settings.patience:g} s {for_whom}")
        self._without.update(missing)
        for worker in missing:
            self._crew.members[worker].news += "; the run goes on without it"

    def refuse(self, worker: int, why: str) -> None:
        """Drops what a worker has sent; who sends such things too often is expelled."""
        member = self._crew.members[worker]
        member.faults += 1
        member.news = f"sent something that {why}"
        self._begin_again_or_expel(worker, member.faults)

    def miss(self, worker: int) -> None:
        """Gives up a sum of a worker that does not answer; who does not, time after time, is expelled."""
        member = self._crew.members[worker]
        member.unanswered += 1
        member.news = "did not send its sum in time"
        self._begin_again_or_expel(worker, member.unanswered)

    def begin_again(self, worker: int) -> None:
        """Gives up what a worker has done, and has it go on: without an order it would be neither heard nor missed."""
        self._lose(worker)
        self._serve(worker)

    def _begin_again_or_expel(self, worker: int, faults: int) -> None:
        if faults < self._settings.most_faults:
            self.begin_again(worker)
            return
        self._lose(worker)
        self._crew.dismiss(worker)
        self._expel(worker)

    def _replace(self, lost: Lost) -> None:
        member = self._crew.members[lost.worker]
        member.failed_starts += not member.was_ready
        if member.failed_starts < self._settings.most_faults:
            self._again(lost)
        else:
            member.news = lost.why
            self._lose(lost.worker)
            self._expel(lost.worker)

    def _again(self, lost: Lost) -> None:
        member = self._crew.members[lost.worker]
        member.news, member.unanswered = lost.why, 0
        self._lose(lost.worker)
        self._crew.start(lost.worker)

    def _expel(self, worker: int) -> None:
        member = self._crew.members[worker]
        member.expelled = True
        member.news += "; it is not started again"
        if all(other.expelled or other.away for other in self._crew.members):
            raise RunError(f"no worker is left; the last, worker {worker + 1}, {member.news}")


class Patience:
    """How long something has been missing.

    Args:
      seconds: after which that is too long.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._since: float | None = None

    def is_over(self, missing: bool) -> bool:
        """Whether it is missing now, and has been at every look for too long; then it is counted anew."""
        if not missing:
            self._since = None
            return False
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since <= self.seconds:
            return False
        self._since = None
        return True
