"""The driver counts every unit once, and no other."""

from nigt_jax.runtimes.cluster._messages import Report
from nigt_jax.runtimes.cluster._tally import Tally


def report(worker, order, sequence):
    return Report(worker, order, sequence, 1.0, None)


def tally(needed=3, workers=2):
    made = Tally(workers, lambda counts: int(counts.sum()) >= needed)
    for worker in range(workers):
        made.expect(worker, 7)
    return made


def test_the_first_ones_count():
    made = tally()
    assert [made.note(report(w, 7, k)) for w, k in [(0, 0), (1, 0), (0, 1)]] == [True] * 3
    assert made.over
    assert not made.note(report(0, 7, 2))  # too late
    assert made.counts.tolist() == [2, 1]
    assert made.discarded == 1


def test_what_was_counted_is_not_counted_again():
    made = tally()
    assert made.note(report(0, 7, 0))
    assert not made.note(report(0, 7, 0))
    assert not made.note(report(0, 7, 2))  # one between is missing
    assert not made.note(report(0, 6, 1))  # of another order
    assert made.counts.tolist() == [1, 0]


def test_who_is_lost_begins_again_and_the_round_goes_on():
    made = tally()
    for worker, sequence in [(0, 0), (0, 1), (1, 0)]:
        made.note(report(worker, 7, sequence))
    assert made.over
    made.expect(0, -1)
    assert not made.over
    assert made.discarded == 2
    assert not made.note(report(0, 7, 2))
    made.expect(0, 8)
    assert made.note(report(0, 8, 0))
    assert made.note(report(1, 7, 1))
    assert made.over
    assert made.counts.tolist() == [1, 2]
