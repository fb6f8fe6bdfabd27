"""Running statistics against NumPy float64, compiled or not, and beyond what an int32 counts."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized

from nigt_jax.policies import ObservationStatistics, init_normalizer, standardise, update_statistics


def statistics_of(rows):
    """Of some observations, in float32."""
    real = lambda x: jnp.asarray(x, jnp.float32)
    return ObservationStatistics(real(len(rows)), real(rows.mean(0)), real(rows.var(0)))


class NormalizerTest(chex.TestCase):
    """Every test runs compiled and op by op."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(0, 1)
    def test_batches_one_after_the_other_are_all_at_once(self, seed):
        rng = np.random.default_rng(seed)
        batches = [rng.normal(rng.normal(size=3) * 5, 2.0, (size, 3)) for size in (1, 40, 7, 300)]
        update, normalizer = self.variant(update_statistics), init_normalizer(3)
        for batch in batches:
            normalizer = update(normalizer, statistics_of(batch))
        whole = np.concatenate(batches)
        chex.assert_trees_all_close(normalizer.mean, whole.mean(0), rtol=1e-4, atol=1e-5)
        chex.assert_trees_all_close(normalizer.std, whole.std(0), rtol=1e-4)
        assert (int(normalizer.count.hi), int(normalizer.count.lo)) == (0, len(whole))

    @chex.variants(with_jit=True, without_jit=True)
    def test_counts_go_beyond_32_bits(self):
        many = ObservationStatistics(jnp.float32(3e9), jnp.ones(1), jnp.ones(1))
        normalizer, update = init_normalizer(1), self.variant(update_statistics)
        for _ in range(3):
            normalizer = update(normalizer, many)
        assert int(normalizer.count.hi) * 2**32 + int(normalizer.count.lo) == 9_000_000_000

    @chex.variants(with_jit=True, without_jit=True)
    def test_nothing_seen_changes_nothing(self):
        rows = np.random.default_rng(0).normal(size=(9, 2))
        before = update_statistics(init_normalizer(2), statistics_of(rows))
        none = ObservationStatistics(jnp.float32(0), jnp.full(2, 7.0), jnp.full(2, 7.0))
        chex.assert_trees_all_equal(self.variant(update_statistics)(before, none), before)

    @chex.variants(with_jit=True, without_jit=True)
    def test_far_observations_are_cut(self):
        seen = self.variant(standardise)(init_normalizer(2), jnp.array([[0.5, 1e9], [-30.0, 2.0]]))
        chex.assert_trees_all_equal(seen, jnp.array([[0.5, 10.0], [-10.0, 2.0]]))
