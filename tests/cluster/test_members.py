"""Who is missed, and from when on."""

import pytest

from nigt_jax.runtimes.cluster._members import Member
from nigt_jax.runtimes.cluster._messages import Dropped, Report

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
