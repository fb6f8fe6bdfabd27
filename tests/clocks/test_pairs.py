"""Pairs of float32 against exact fractions, compiled, with and without fused multiply-add.

Where a compiler breaks error-free arithmetic, these fail.
"""

import os
import subprocess
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.compilation import known_options

NUMBER = 1000
COMPILERS = {"older emitters": False, "newer emitters": True}


def exact(pair):
    """The numbers that an array of pairs stands for."""
    return [Fraction(float(h)) + Fraction(float(low)) for h, low in zip(pair.high, pair.low, strict=True)]


def fractions(array):
    return [Fraction(float(x)) for x in array]


@pytest.fixture(params=sorted(COMPILERS))
def compiled(request):
    """Runs a function as one program of that compiler; other platforms, and JAX 0.11 and later, have but one."""
    emitters = known_options({"xla_cpu_use_fusion_emitters": COMPILERS[request.param]})
    options = emitters if jax.default_backend() == "cpu" else {}
    return lambda f, *args: jax.jit(f).lower(*args).compile(compiler_options=options)(*args)


@pytest.fixture(scope="module")
def numbers():
    """Four arrays of float32 over sixteen orders of magnitude, of both signs."""
    rng = np.random.default_rng(0)
    sign = lambda: rng.choice([-1, 1], NUMBER)
    return [jnp.asarray(rng.lognormal(0, 6, NUMBER) * sign(), jnp.float32) for _ in range(4)]


def test_products_of_single_numbers_are_exact(compiled, numbers):
    a, b, *_ = numbers
    got = compiled(lambda a, b: pairs.multiply(pairs.widen(a), pairs.widen(b)), a, b)
    assert exact(got) == [x * y for x, y in zip(fractions(a), fractions(b), strict=True)]


def test_sums_of_single_numbers_are_exact(compiled, numbers):
    a, b, *_ = numbers
    got = compiled(lambda a, b: pairs.add(pairs.widen(a), pairs.widen(b * 2.0**-9)), a, b)
    error = [abs(g - x - y / 512) for g, x, y in zip(exact(got), fractions(a), fractions(b), strict=True)]
    largest = [max(abs(x), abs(y)) for x, y in zip(fractions(a), fractions(b), strict=True)]
    assert all(e <= most / 2**46 for e, most in zip(error, largest, strict=True))


def test_a_number_that_is_a_product_is_its_rounded_value(compiled, numbers):
    """A compiler that contracts the caller's product into our sum would add another number than it shows."""
    a, b, c, d = numbers
    got = compiled(lambda a, b, c, d: (pairs.add(pairs.widen(a * b), pairs.widen(c * d)), a * b, c * d), a, b, c, d)
    rounded = [np.asarray(x) * np.asarray(y) for x, y in ((a, b), (c, d))]
    for got_product, product in zip(got[1:], rounded, strict=True):
        np.testing.assert_array_equal(got_product, product)
    error = [abs(g - x - y) for g, x, y in zip(exact(got[0]), *map(fractions, rounded), strict=True)]
    largest = [max(abs(x), abs(y)) for x, y in zip(*map(fractions, rounded), strict=True)]
    assert all(e <= most / 2**46 for e, most in zip(error, largest, strict=True))


@pytest.mark.parametrize(("operation", "wanted"), [(pairs.add, Fraction.__add__), (pairs.subtract, Fraction.__sub__)])
def test_a_product_that_nobody_else_reads_is_its_rounded_value(compiled, numbers, operation, wanted):
    """Then a compiler has no reason to round it, and contracts it if it can."""
    a, b, c, d = numbers
    got = exact(compiled(lambda a, b, c, d: operation(pairs.widen(a * b), pairs.widen(c * d)), a, b, c, d))
    one, other = (fractions(np.asarray(x) * np.asarray(y)) for x, y in ((a, b), (c, d)))
    for g, x, y in zip(got, one, other, strict=True):
        assert abs(g - wanted(x, y)) <= max(abs(x), abs(y)) / 2**46


def test_products_inside_a_larger_program_are_exact(compiled, numbers):
    """What surrounds a product shares its kernel: here its factors are products, and its result is compared at once."""
    a, b, c, d = numbers

    def program(a, b, c, d):
        product = pairs.multiply(pairs.widen(a * b), pairs.widen(c * 3.0))
        return product, pairs.less(product, pairs.widen(d * d)), pairs.subtract(product, product)

    product, less, nothing = compiled(program, a, b, c, d)
    one, other = fractions(np.asarray(a) * np.asarray(b)), fractions(np.asarray(c) * np.float32(3))
    wanted = [x * y for x, y in zip(one, other, strict=True)]
    assert exact(product) == wanted
    squares = fractions(np.asarray(d) * np.asarray(d))
    assert np.asarray(less).tolist() == [x < y for x, y in zip(wanted, squares, strict=True)]
    assert not np.asarray(nothing.high).any()


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (pairs.add, lambda a, b: a + b),
        (pairs.subtract, lambda a, b: a - b),
        (pairs.multiply, lambda a, b: a * b),
        (pairs.divide, lambda a, b: a / b),
    ],
)
def test_operations_on_pairs(compiled, numbers, operation, wanted):
    a, b = (pairs.add(pairs.widen(x), pairs.widen(y * 2.0**-25)) for x, y in (numbers[:2], numbers[2:]))
    for got, x, y in zip(exact(compiled(operation, a, b)), exact(a), exact(b), strict=True):
        scale = abs(wanted(x, y)) if operation in (pairs.multiply, pairs.divide) else max(abs(x), abs(y))
        assert abs(got - wanted(x, y)) <= scale / 2**44


@pytest.mark.parametrize("constant", [49.0, 1 / 3])
def test_operations_with_a_constant(compiled, constant):
    """What the compiler knows of one operand it may use; scalars are another kernel than arrays."""
    number = pairs.split(constant)
    program = lambda n: (
        pairs.multiply(pairs.divide(pairs.split(1.0), pairs.whole(n)), number),
        pairs.divide(number, pairs.whole(n)),
        pairs.subtract(pairs.multiply(pairs.whole(n), number), pairs.whole(n)),
    )
    c, one = exact(jax.tree.map(lambda x: x[None], number))[0], compiled(program, jnp.int32(7))
    for got, wanted in zip(one, [c / 7, c / 7, 7 * c - 7], strict=True):
        assert abs(exact(jax.tree.map(lambda x: x[None], got))[0] - wanted) <= (c + 7) / 2**44


def test_whole_division(compiled):
    """Ties included: a whole multiple leaves nothing, whatever the quotient is rounded to."""
    rng = np.random.default_rng(1)
    divisor = rng.lognormal(0, 2, NUMBER).astype(np.float32)
    number = rng.integers(1, 2**20, NUMBER).astype(np.float32)
    more = np.where(rng.random(NUMBER) < 0.5, 0, divisor * rng.random(NUMBER)).astype(np.float32)

    def program(n, b, more):
        multiple = pairs.multiply(pairs.widen(n), pairs.widen(b))
        return pairs.add(multiple, pairs.widen(more)), pairs.divide_whole(
            pairs.add(multiple, pairs.widen(more)), pairs.widen(b)
        )

    dividend, (times, rest) = compiled(program, number, divisor, more)
    for a, b, q, r in zip(exact(dividend), fractions(divisor), exact(times), exact(rest), strict=True):
        assert q == a // b
        assert abs(r - a % b) <= a / 2**44


def test_the_sum_of_many(compiled):
    values = np.random.default_rng(2).lognormal(0, 4, 10_007).astype(np.float32)
    got = compiled(lambda x: pairs.total(pairs.widen(x)), values)
    wanted = sum(fractions(values))
    assert abs(Fraction(float(got.high)) + Fraction(float(got.low)) - wanted) <= wanted / 2**43


def test_infinity_is_a_number():
    infinite = jax.jit(pairs.widen)(jnp.array([jnp.inf, 1.0]))
    total = jax.jit(pairs.add)(infinite, pairs.widen(jnp.ones(2)))
    assert total.high.tolist() == [jnp.inf, 2]
    assert total.low.tolist() == [0, 0]
    assert jax.jit(pairs.less)(pairs.widen(jnp.ones(2)), infinite).tolist() == [True, False]


def test_split():
    pair = pairs.split(100_003.0**2)  # more than 24 bits
    assert float(pair.high) + float(pair.low) == 100_003.0**2


def test_whole_numbers_are_exact():
    numbers = jnp.asarray([0, 1, 2**24 + 1, 2**31 - 1, 2**31 - 2, 2**31 - 50, 123_456_789], jnp.int32)
    assert exact(jax.jit(pairs.whole)(numbers)) == numbers.tolist()


def test_without_fused_multiply_add():
    """The same tests on the same processor, less its fused instructions; XLA takes that once a process."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", __file__, "-k", "not without and (exact or constant)"]
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=AVX"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
