"""What results depend on: through calls, choices and loops, and not where a program does not say so."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from nigt_jax.environments._flow import flow

A, B, C = (frozenset([name]) for name in "abc")
NOTHING = frozenset()


@jax.custom_jvp
def unchanged(x):
    """With a derivative of its own."""
    return x


unchanged.defjvp(lambda primals, tangents: (*primals, *tangents))


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        pytest.param(lambda a, b, c: (a + b, c, 1.0), [A | B, C, NOTHING], id="plain"),
        pytest.param(lambda a, b, c: jax.jit(lambda x, y: (y, x))(a, b + c), [B | C, A], id="jit"),
        pytest.param(lambda a, b, c: (unchanged(a), jax.checkpoint(jnp.sin)(b)), [A, B], id="custom"),
        pytest.param(lambda a, b, c: lax.cond(a > 0, lambda: (b, 1.0), lambda: (c, 2.0)), [A | B | C, A], id="cond"),
        # Three values that move on by one place in every turn: all of them reach the first.
        pytest.param(
            lambda a, b, c: lax.fori_loop(0, 3, lambda i, x: (x[1], x[2], x[2]), (a, b, c)),
            [A | B | C, B | C, C],
            id="scan",
        ),
        pytest.param(
            lambda a, b, c: lax.scan(lambda x, y: (x * c, x + y), a, jnp.stack([b, b])), [A | C, A | B | C], id="rows"
        ),
        pytest.param(
            lambda a, b, c: lax.while_loop(lambda x: x[0] < c, lambda x: (x[0] + 1, 2 * x[1]), (a, b)),
            [A | C, A | B | C],
            id="while",
        ),
        pytest.param(lambda a, b, c: (a * jnp.zeros(0)).sum() + b, [B], id="nothing to multiply"),
    ],
)
def test_what_results_depend_on(function, wanted):
    traced = jax.make_jaxpr(function)(1.0, 2.0, 3.0)
    assert flow(traced, [A, B, C]) == wanted
