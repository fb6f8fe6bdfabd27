"""Rounds of fixed times against exact rationals: above all where conditions hold with equality."""

from fractions import Fraction

import jax
import numpy as np
from compiled_rounds import assert_same, begin_many, case_of, play_compiled, stacked_clocks, stacked_rules, workers_of
from exact_rounds import exact, play

ROUNDS = 3
TEN = [float(np.sqrt(i)) for i in range(1, 11)]


def malenia_ties(times, limit=40):
    """Batch sizes for which Malenia's condition holds with equality at some time, for whole times."""
    for now in range(max(times), limit):
        bound = len(times) ** 2 / sum(Fraction(1, now // h) for h in times)
        if bound.denominator == 1:
            yield int(bound)


def tied_cases(workers, number, seed):
    """(times, batch size) in which the condition holds with equality, most of them with unequal counts."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < number:
        times = rng.choice([1, 2, 3, 4, 5, 6, 8], workers).tolist()
        found += [(times, size) for size in malenia_ties(times) if len(set(times)) > 1 or len(found) < number // 4]
    return found[:number]


def compare(cases, **others):
    """Plays (rule, times, batch sizes of the first round and the others, exchange) and compares every one."""
    n = len(cases[0][1])
    clock = stacked_clocks([workers_of(times, exchange, **others) for _, times, _, exchange in cases])
    names = [name for name, *_ in cases]
    first, later = (stacked_rules(names, [sizes[k] for _, _, sizes, _ in cases], n) for k in (0, 1))
    got = jax.device_get(play_compiled(ROUNDS, clock, first, later, begin_many(clock, np.zeros(len(cases)))))
    for k, (rule, times, sizes, exchange) in enumerate(cases):
        h = exact(times)
        wanted = play(ROUNDS, rule, sizes, lambda i, number, begin: begin + h[i], exact(exchange), **others)  # noqa: B023
        assert_same(case_of(got, k), wanted, f"{rule}, times {times}, M {sizes}, {others}")


def random_cases(rule, workers, number, seed):
    """Whole times with many ties, and times without any."""
    rng, cases = np.random.default_rng(seed), []
    for k in range(number):
        times = rng.integers(1, 9, workers) if k % 3 else rng.lognormal(0, 1, workers).astype(np.float32)
        sizes = tuple(int(x) for x in rng.integers(1, 5 * workers, 2))
        cases.append((rule, times.tolist(), sizes, rng.integers(0, 4, workers).tolist()))
    return cases


def test_malenia():
    """Equal workers, others whose condition holds with equality, and those of the main job with every M."""
    zeros = [0.0] * 10
    equal = [("malenia", [1.0] * 10, (10 * k, 10 * (25 - k)), zeros) for k in range(1, 25)]
    tenths = [("malenia", [0.1] * 10, (10 * k, 10 * k + 1), zeros) for k in range(1, 25)]
    roots = [("malenia", TEN, (m, m + 1), TEN) for m in range(1, 61)]
    tied = [("malenia", times, (m, m), TEN) for times, m in tied_cases(10, 60, seed=0)]
    compare(equal + tenths + roots + tied + random_cases("malenia", 10, 50, seed=1))


def test_rennala():
    roots = [("rennala", TEN, (m, m + 30), TEN) for m in range(1, 31)]
    compare(roots + random_cases("rennala", 10, 120, seed=2), carry_over=True, topology="shared-link")
