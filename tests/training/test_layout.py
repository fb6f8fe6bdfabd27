"""Layouts of a round: each counted episode exactly once, in both."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nigt_jax.clocks import Round
from nigt_jax.training._layout import LAYOUTS

workers = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=6)


@given(workers.filter(lambda w: sum(c for c, _ in w) > 0), st.integers(1, 3))
def test_no_gradient_is_lost_or_counted_twice(rows, each):
    counts, discarded = (jnp.array(x, jnp.int32) for x in zip(*rows, strict=True))
    counted = Round(counts, jnp.float32(1), discarded, jnp.array(True))
    for name, (lay_out, size) in LAYOUTS.items():
        places = lay_out(counted, each, jnp.arange(150))
        played, counts_here = np.asarray(places.played), np.asarray(places.counted)
        assert not played[int(size(counted, each)) :].any()
        assert (played | ~counts_here).all()
        assert sorted(np.asarray(places.episode)[counts_here].tolist()) == list(range(int(counts.sum()) * each))
        assert (
            np.bincount(np.asarray(places.worker)[counts_here], minlength=len(rows)).tolist()
            == (counts * each).tolist()
        )
        assert played.sum() == int(counts.sum() + (discarded.sum() if name == "masked" else 0)) * each
        assert len(set(np.asarray(places.episode)[played].tolist())) == played.sum()


def test_both_give_a_worker_the_same_episodes():
    counted = Round(jnp.array([2, 0, 3], jnp.int32), jnp.float32(1), jnp.array([1, 1, 0], jnp.int32), jnp.array(True))
    found = []
    for lay_out, _ in LAYOUTS.values():
        places = lay_out(counted, 2, jnp.arange(40))
        found.append(
            {(int(e), int(w)) for e, w, c in zip(places.episode, places.worker, places.counted, strict=True) if c}
        )
    assert found[0] == found[1]
