"""What users hand to the transforms: it works, as it does with Adam, or one line says what is wanted."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from nigt_jax.transforms import (
    OneMinus,
    ema_from_first,
    implicit_gradient_transport,
    malenia_mean,
    nigt,
    nigt_eval_params,
    normalize_by_tree_norm,
    normalized_momentum,
    rennala_mean,
    tree_norm,
)

KEEPING = {
    "nigt": lambda: nigt(0.1, 0.75),
    "normalized_momentum": lambda: normalized_momentum(0.1, 0.75),
    "ema_from_first": lambda: ema_from_first(0.75),
    "implicit_gradient_transport": lambda: implicit_gradient_transport(optax.sgd(0.1), 0.75),
}
ALL = KEEPING | {
    "normalize_by_tree_norm": normalize_by_tree_norm,
    "rennala_mean": lambda: rennala_mean(None),
    "malenia_mean": lambda: malenia_mean(None),
}
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
keeping = pytest.mark.parametrize("make", KEEPING.values(), ids=KEEPING)
MEANS = pytest.mark.parametrize("mean", [rennala_mean, malenia_mean])


def two_updates(make, params, gradients):
    tx = optax.with_extra_args_support(make())
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(gradients, state, params, count=2)
    return updates, state


@every
@pytest.mark.parametrize(
    "number", [float, np.float32, lambda x: np.full(2, x)], ids=["Python", "NumPy", "NumPy arrays of float64"]
)
def test_numbers_that_are_no_jax_arrays(make, number):
    arrays = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float32)), tree)
    params, gradients = {"a": number(2.0), "b": None}, {"a": number(-3.0), "b": None}
    got, wanted = two_updates(make, params, gradients), two_updates(make, arrays(params), arrays(gradients))
    assert jax.tree.map(jax.typeof, got) == jax.tree.map(jax.typeof, wanted)  # and of no weak type
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_eval_params_and_norm_of_python_numbers():
    tx = nigt(0.5, 0.75)
    updates, state = tx.update({"a": 1.0}, tx.init({"a": 2.0}), {"a": 2.0})
    assert float(nigt_eval_params(state, optax.apply_updates({"a": 2.0}, updates))["a"]) == 1.5
    assert float(tree_norm({"a": 3.0, "b": np.float64(4.0)})) == 5.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Module:
    """A whole module as Equinox makes it: among its leaves is a function."""

    weight: jax.Array
    activation: Callable | None


WHOLE, TRAINED = Module(jnp.ones(2), jax.nn.relu), Module(jnp.ones(2), None)


@keeping
def test_a_whole_module(make):
    with pytest.raises(TypeError, match=r"^the parameter \.activation is a .*, not an array: leave out.*$"):
        make().init(WHOLE)


@every
def test_a_whole_module_of_gradients(make):
    tx = optax.with_extra_args_support(make())
    with pytest.raises(TypeError, match=r"^the gradient \.activation is a .*, not an array.*$"):
        tx.update(WHOLE, tx.init(TRAINED), count=1)


def test_a_whole_module_where_params_are_asked_for():
    tx = nigt(0.1)
    state = tx.init(TRAINED)
    for call in (lambda: tx.update(TRAINED, state, WHOLE), lambda: nigt_eval_params(state, WHOLE)):
        with pytest.raises(TypeError, match=r"^the parameter \.activation is a .*, not an array.*$"):
            call()


@keeping
def test_keys_among_the_parameters(make):
    with pytest.raises(TypeError, match=r"\['k'\] has dtype key.*not a number"):
        make().init({"k": jax.random.key(0)})


@every
def test_gradients_of_integers(make):
    tx = optax.with_extra_args_support(make())
    with pytest.raises(TypeError, match="float0"):
        tx.update({"a": np.zeros(2, jax.dtypes.float0)}, tx.init({"a": jnp.ones(2)}), count=1)


def test_parameters_of_another_kind_than_the_gradients():
    params = {"w": jnp.ones(3), "b": jnp.ones(2)}
    tx = nigt(0.1)
    for other, error in (
        ({"w": params["w"]}, "another structure"),
        (params | {"b": jnp.ones(3)}, r"\['b'\] has shape"),
    ):
        with pytest.raises(ValueError, match=error):
            tx.update(params, tx.init(params), other)


@keeping
def test_shapes_instead_of_parameters(make):
    """In float32 as with Adam; the iterate of lower precision begins with values that a shape does not have."""
    shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert jax.tree.map(jnp.shape, make().init(shape)) == jax.tree.map(jnp.shape, make().init(jnp.ones((2, 3))))
    low = jax.ShapeDtypeStruct((2, 3), jnp.bfloat16)
    if make in (KEEPING["nigt"], KEEPING["implicit_gradient_transport"]):
        with pytest.raises(TypeError, match=r"bfloat16.*jax\.eval_shape\(tx\.init, params\)"):
            make().init(low)
    else:
        make().init(low)
    jax.eval_shape(make().init, low)


@keeping
def test_tree_map_params(make):
    """With trees beside the state, such as the specifications of a sharding, as with Adam."""
    params = {"w": jnp.ones((2, 3)), "b": {"c": jnp.ones(4)}}
    specs = {"w": P("x", "y"), "b": {"c": P("x")}}
    tx = make()
    state = tx.init(params)
    seen = []
    same = optax.tree_utils.tree_map_params(tx, lambda x, spec: seen.append((x.shape, spec)) or x, state, specs)
    assert seen == [((4,), P("x")), ((2, 3), P("x", "y"))]
    plain = optax.tree_utils.tree_map_params(tx, lambda x: x + 1, state)
    assert jax.tree.structure(same) == jax.tree.structure(plain) == jax.tree.structure(state)


def test_tree_map_params_of_low_precision_is_told_what_is_like_the_parameters():
    params = {"w": jnp.ones((2, 3), jnp.bfloat16)}
    tx = nigt(0.1)
    state = tx.init(params)
    with pytest.raises(ValueError, match=r"structure|Expected None"):
        optax.tree_utils.tree_map_params(tx, lambda x: x, state)
    init = lambda placeholder: tx.init(placeholder)._replace(iterate=placeholder)
    got = optax.tree_utils.tree_map_params(init, lambda x, spec: spec, state, {"w": P("x")})
    assert got.iterate == got.inner_state.direction == {"w": P("x")}


@pytest.mark.parametrize("make", [KEEPING["nigt"], KEEPING["implicit_gradient_transport"]], ids=["nigt", "transport"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape", [(4,), (2, 2), ()])
def test_flatten_around_one_leaf_in_a_container(make, dtype, shape):
    params = {"net": [jnp.ones(shape, dtype)]}
    tx = optax.flatten(make())
    updates, state = tx.update(params, tx.init(params), params)
    theta = nigt_eval_params(state, optax.apply_updates(params, updates))
    plain = make()
    updates, state = plain.update(params, plain.init(params), params)
    wanted = nigt_eval_params(state, optax.apply_updates(params, updates))
    assert jax.tree.structure(theta) == jax.tree.structure(params)
    np.testing.assert_array_equal(np.asarray(theta["net"][0], np.float32), np.asarray(wanted["net"][0], np.float32))


BAD_MOMENTA = [1, 1.0, -0.1, np.nan, np.array(1.0), jnp.array(1.0), jnp.array(np.nan), OneMinus(0.0), OneMinus(jnp.inf)]


@pytest.mark.parametrize("momentum", BAD_MOMENTA, ids=repr)
def test_a_momentum_out_of_range(momentum):
    """Known from the beginning, or only when a schedule is called, which under jit is a Python number too."""
    given = momentum.newest if isinstance(momentum, OneMinus) else momentum
    later = (lambda step: given) if given is momentum else OneMinus(lambda step: given)
    makers = (lambda m: nigt(0.1, m), ema_from_first, lambda m: normalized_momentum(0.1, m))
    for make in (*makers, lambda m: implicit_gradient_transport(optax.sgd(0.1), m)):
        with pytest.raises(ValueError, match=r"\[0, 1\), got|\(0, 1\], got"):
            make(momentum)
        tx = make(later)
        with pytest.raises(ValueError, match=r"\[0, 1\), got|\(0, 1\], got"):
            jax.jit(tx.update)(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.parametrize("value", ["0.9", None, 1j])
def test_a_hyperparameter_that_is_no_number(value):
    for make in (lambda: nigt(value), lambda: nigt(0.1, value), lambda: ema_from_first(OneMinus(value))):
        with pytest.raises(TypeError, match="a number, an array or a schedule, got"):
            make()


@pytest.mark.parametrize("value", [np.nan, np.inf, jnp.array(np.nan)])
def test_a_step_without_length(value):
    for make in (nigt, normalized_momentum):
        with pytest.raises(ValueError, match=r"learning_rate is the length of a step.*got"):
            make(value)


@MEANS
@pytest.mark.parametrize("count", [-1, -0.5, np.nan, np.inf, jnp.float32(-1), jnp.int32(-2)], ids=repr)
def test_a_count_out_of_range_does_not_stay_silent(mean, count):
    tx = mean(None)
    update = lambda count: tx.update(jnp.ones(2), tx.init(None), count=count)[0]
    with pytest.raises(ValueError, match="finite and not negative, got"):
        update(count)
    assert np.isnan(jax.jit(update)(count)).all()


@MEANS
@pytest.mark.parametrize("count", [-1.0, np.nan])
def test_a_traced_count_out_of_range_shows_on_every_shard(mean, count):
    """One of four shards; another has counted nothing."""
    tx = mean("i")
    update = lambda total, count: tx.update(total, tx.init(None), count=count)[0]
    got = jax.jit(jax.vmap(update, axis_name="i"))(jnp.ones((4, 2)), jnp.array([1.0, count, 0.0, 3.0]))
    assert np.isnan(got).all()


@MEANS
@pytest.mark.parametrize("count", ["3", None, 1j])
def test_a_count_that_is_no_number(mean, count):
    with pytest.raises(TypeError, match="count is how many gradients this shard summed, a number, got"):
        mean(None).update(jnp.ones(2), mean(None).init(None), count=count)
