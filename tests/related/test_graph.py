"""Graphs and their weights: sums, symmetry, known rates, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.errors import UserError
from nigt_jax.related import graph
from nigt_jax.related.tracking import mix, track


def test_a_directed_ring_sends_to_the_next():
    links = graph.directed_ring(4)
    assert {(int(i), int(j)) for i, j in np.argwhere(links)} == {(1, 0), (2, 1), (3, 2), (0, 3)}


def test_weights_sum_as_they_should():
    for links in (graph.ring(6), graph.line(5), graph.complete(4), graph.random_digraph(9, 3, 1), graph.ring(2)):
        graph.check_connected(links)
        rows, columns = graph.row_stochastic(links), graph.column_stochastic(links)
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-15)
        np.testing.assert_allclose(columns.sum(0), 1, atol=1e-15)
        both = graph.metropolis(graph.undirected(links))
        np.testing.assert_allclose(both, both.T)
        assert (both >= 0).all()
        assert (both[~(graph.undirected(links) | np.eye(len(links), dtype=bool))] == 0).all()
        np.testing.assert_allclose(both.sum(1), 1, atol=1e-12)


def test_each_sends_to_as_many_as_asked():
    links = graph.random_digraph(12, 4, 3)
    assert (links.sum(0) == 4).all()
    assert not links.diagonal().any()
    assert (graph.random_digraph(12, 4, 3) == links).all()
    assert (graph.random_digraph(12, 4, 4) != links).any()


@pytest.mark.parametrize("agents", [3, 10, 31])
def test_rates_that_are_known(agents):
    half = 0.5 * (np.eye(agents) + graph.directed_ring(agents))
    assert graph.mixing_rate(half) == pytest.approx(math.cos(math.pi / agents), abs=1e-12)
    assert graph.mixing_rate(np.full((agents, agents), 1 / agents)) == pytest.approx(0, abs=1e-12)
    third = graph.metropolis(graph.ring(agents))
    if agents > 3:
        assert graph.mixing_rate(third) == pytest.approx((1 + 2 * math.cos(2 * math.pi / agents)) / 3, abs=1e-12)


def test_what_does_not_reach_everybody_is_refused():
    links = graph.line(4)
    links[2, 1] = False
    with pytest.raises(UserError, match="nothing that agent 1 sends ever reaches agent 3"):
        graph.check_connected(links)


def test_links_of_one_direction_have_no_symmetric_weights():
    links = graph.directed_ring(3)
    with pytest.raises(UserError, match="links of one direction"):
        graph.metropolis(links)


def test_trackers_keep_the_mean_of_what_they_track():
    rng, links = np.random.default_rng(0), graph.random_digraph(7, 2, 0)
    columns = jnp.asarray(graph.column_stochastic(links), jnp.float32)
    draw = lambda: {"a": jnp.asarray(rng.normal(size=(7, 3)), jnp.float32), "b": jnp.ones((7,), jnp.float32)}
    tracker = old = draw()
    step = jax.jit(track)
    for _ in range(20):
        new = draw()
        tracker, old = step(columns, tracker, new, old), new
    for y, value in zip(jax.tree.leaves(tracker), jax.tree.leaves(old), strict=True):
        np.testing.assert_allclose(y.mean(0), value.mean(0), atol=2e-6)
    rows = jnp.asarray(graph.row_stochastic(links), jnp.float32)
    alike = {"a": jnp.full((7, 2), 3.0)}
    np.testing.assert_allclose(mix(rows, alike)["a"], 3.0, rtol=1e-6)
