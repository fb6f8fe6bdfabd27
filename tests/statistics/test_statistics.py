"""Statistics against rliable 1.2.0, whose figures for these scores are recorded here, and against closed forms."""

import math

import numpy as np
import pytest

from nigt_jax.statistics import (
    Curve,
    area,
    band,
    common_end,
    interquartile_mean,
    interval,
    probability_of_improvement,
    stratified,
    time_to,
    value_at,
)

X = np.array([[3.04, -1.56, 1.42], [0.43, 0.55, 0.78], [-1.02, 0.77, 0.13], [4.32, 1.23, 0.65], [0.72, 0.33, -0.06]])
Y = np.array(
    [
        [0.21, 1.08, 0.36],
        [1.56, 0.4, 0.62],
        [2.15, -1.56, 0.09],
        [0.42, 1.14, 2.54],
        [0.33, 0.36, 1.6],
        [-0.29, 0.31, 1.48],
        [1.18, 0.69, 1.27],
    ]
)


def test_as_rliable():
    assert interquartile_mean(X) == pytest.approx(0.62111111)
    assert interquartile_mean(Y) == pytest.approx(0.71363636)
    assert probability_of_improvement(X, Y) == pytest.approx(0.49047619)  # with a tie in the second task
    found = stratified(interquartile_mean, X, samples=20_000)
    assert found == pytest.approx((0.62111111, 0.15111111, 1.13666667), abs=0.03)
    found = stratified(interquartile_mean, Y, samples=20_000)
    assert found == pytest.approx((0.71363636, 0.39636364, 1.09727273), abs=0.03)
    found = stratified(probability_of_improvement, X, Y, samples=20_000)
    assert found == pytest.approx((0.49047619, 0.2952381, 0.68571429), abs=0.02)


def test_intervals_cover_as_often_as_they_say():
    """Of the mean of 20 normal numbers; a percentile interval of so few covers a little less than 95%."""
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        found = interval(lambda group: group.mean(-1), draw.normal(size=20), samples=400)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 400 <= 0.97


def test_times_that_are_never_reached():
    found = interval(lambda group: np.median(group, axis=-1), np.array([3.0, 4.0, math.inf, 5.0, 4.5]), samples=2000)
    assert found.value == 4.5
    assert found.low == 3.0
    assert found.high in (5.0, math.inf)
    assert probability_of_improvement(-np.array([[math.inf], [1.0]]), -np.array([[math.inf], [2.0]])) == 0.625


def test_a_curve():
    curve = Curve(np.array([0.0, 2.0, 6.0]), np.array([0.0, 10.0, 30.0]))
    assert area(curve, 6.0) == pytest.approx((10 + 80) / 6)
    assert area(curve, 4.0) == pytest.approx((10 + 30) / 4)  # 20 at 4, by interpolation
    assert area(curve, 10.0) == pytest.approx((90 + 120) / 10)  # 30 from 6 on
    assert area(curve, 0.0) == 0.0
    assert value_at(curve, 4.0) == 20.0
    assert [time_to(curve, wanted) for wanted in (-1.0, 10.0, 20.0, 30.0, 31.0)] == [0.0, 2.0, 4.0, 6.0, math.inf]
    assert common_end([curve, Curve(np.array([0.0, 5.0]), np.zeros(2))]) == 5.0


def test_a_curve_that_falls_again_has_reached_what_it_reached():
    curve = Curve(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 8.0, 2.0, 9.0]))
    assert time_to(curve, 4.0) == 0.5
    assert time_to(curve, 9.0) == 3.0


def test_the_band_is_that_of_the_paper():
    low, middle, high = band(np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0], [5.0, 50.0]]))
    np.testing.assert_allclose([low, middle, high], [[1.8, 18.0], [3.0, 30.0], [4.2, 42.0]])
