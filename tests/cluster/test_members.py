"""Who is missed, and from when on."""

import pytest

from nigt_jax.runtimes.cluster import _crew
from nigt_jax.runtimes.cluster._members import Member
from nigt_jax.runtimes.cluster._messages import Dropped, Ready, Report
from nigt_jax.runtimes.cluster._worker import _AHEAD

GRACE, DEADLINE = 600.0, 10.0


def member(heard=100.0):
    made = Member()
    made.since, made.told, made.heard = 0.0, 0.0, heard
    return made


def late(one, now, busy=True):
    return one.is_late(now, busy, DEADLINE, GRACE)


def test_who_is_busy_and_silent_is_late():
    one = member()
    one.note_order(105.0)
    assert not late(one, 115.0)
    assert late(one, 115.1)
    assert not late(one, 115.1, busy=False)


def test_other_orders_do_not_make_up_for_silence():
    """A round that others end has given it another order before it was late; it hangs all the same."""
    one = member()
    for now in (105.0, 109.0, 113.0):
        one.note_order(now)
    assert late(one, 115.1)
    one.heard = 116.0  # a slow one, that was not
    one.note_order(120.0)
    assert not late(one, 130.0)
    assert late(one, 130.1)


def test_time_in_which_it_is_held_does_not_count():
    one = member()
    one.note_order(105.0)
    one.note_held(50.0)
    assert not late(one, 165.0)
    assert late(one, 165.1)


def test_who_starts_has_more_time():
    one = member(heard=None)
    assert not late(one, GRACE)
    assert late(one, GRACE + 1)
    one.note_held(20.0)
    assert not late(one, GRACE + 1)


def test_an_exchange_lasts_until_the_worker_begins():
    """Whoever begins another unit of the same order had no exchange; time in which it was held belongs to none."""
    one = member()
    one.asked = (7, 100.0)  # since 100 the driver has known that the round was over
    report = lambda order, sequence: Report(2, order, sequence, 5.0, None)
    assert one.time_of(report(7, 0), 105.5) == (3, 5.0, True, pytest.approx(0.5))
    assert one.time_of(report(7, 1), 110.5) == (3, 5.0, True, None)
    assert one.time_of(report(6, 0), 105.5) == (3, 5.0, True, None)  # of the order before
    assert one.time_of(Dropped(2, 7, 0, 2.0), 102.25) == (3, 2.0, False, pytest.approx(0.25))
    one.note_held(50.0)
    assert one.time_of(report(7, 0), 155.5).exchange == pytest.approx(0.5)
    one.asked = None
    assert one.time_of(report(8, 0), 105.5).exchange is None


def test_a_worker_is_told_that_it_was_heard_before_it_has_to_wait(monkeypatch):
    """What comes by Ray is heard in the order in which it was told; only reports are units."""
    crew = object.__new__(_crew.Crew)  # without a cluster
    events = [Ready(0, 1, "here"), Dropped(0, 2, 0, 1.0), *(Report(0, 3, k, 1.0, None) for k in range(3 * _AHEAD))]
    crew.members, crew._durations, told = [member()], [], []
    crew.members[0].stream = iter(events)
    monkeypatch.setattr(_crew.ray, "get", lambda event: event)
    monkeypatch.setattr(crew, "_tell", lambda worker, method, *arguments: told.append((worker, method, *arguments)))
    for heard in range(len(events)):
        assert crew._next(0) == events[heard]
        units = max(0, heard - 1)
        newest = told[-1][-1] if told else 0
        assert newest <= units < newest + _AHEAD
    assert {message[:3] for message in told} == {(0, "heard", 3)}
