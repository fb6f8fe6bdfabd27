"""XLA's options: those that it knows, on a CPU, unless the user has said otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax import compilation
from nigt_jax.compilation import compile_options
from nigt_jax.rollout._vmap_last import vmap_last
from nigt_jax.runtimes import Spmd

OURS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@pytest.fixture(autouse=True)
def as_users_have_it(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(compilation, "CPU_OPTIONS", OURS)  # without what other tests have for speed


def compiled(options=None):
    spmd = Spmd("pmap", jax.devices("cpu")[:2])
    product = lambda x, y: jnp.sin(jnp.tanh(x @ y)).sum()
    return spmd.compile(product, (jnp.ones((25, 11)), jnp.ones((11, 64))), options=options)


def test_programs_are_compiled_with_the_options_of_their_platform():
    """The tested version of XLA knows it, and what it compiles shows it."""
    assert compile_options("cpu") == OURS
    assert "ynn" in compiled({}).text()
    assert "ynn" not in compiled().text()


def test_products_along_the_lanes_are_right():
    """With YNNPACK, that of jaxlib 0.10.2, every number of this one is wrong."""
    x, y = np.random.default_rng(0).normal(size=(2, 6, 6, 32)).astype(np.float32)
    product = Spmd("pmap", jax.devices("cpu")[:2]).compile(vmap_last(jnp.matmul), (x, y))
    np.testing.assert_allclose(product(x, y), np.einsum("ikl,kjl->ijl", x, y), rtol=1e-4, atol=1e-5)


def test_results_stay_what_they_are():
    x, y = jnp.ones((25, 11)) / 7, jnp.ones((11, 64)) / 3
    assert float(compiled()(x, y)) == pytest.approx(float(compiled({})(x, y)), rel=1e-5)


def test_other_platforms_have_none():
    assert compile_options("gpu") == {}


def test_what_this_version_of_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "CPU_OPTIONS", {"xla_cpu_no_such_option": True} | OURS)
    assert compile_options("cpu") == OURS


def test_what_the_user_has_said_is_left_to_xla(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=FUSION_TYPE_DOT")
    assert compile_options("cpu") == {}
