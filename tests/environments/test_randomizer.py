"""Domain randomisers, written as Brax and MuJoCo Playground have them, draw the physics of every worker."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import brax_environment

from nigt_jax.config import WorkersConfig
from nigt_jax.environments import check_variation, make_variation, of_workers
from nigt_jax.environments._variation import vary_physics
from nigt_jax.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits


def drawn_by(model, keys, names):
    """Every one of these leaves times a factor of the key."""
    factor = jax.vmap(lambda key: jax.random.uniform(key, (), minval=0.5, maxval=2.0))(keys)
    leaves = {name: jax.vmap(lambda x, name=name: leaf(model, name) * x)(factor) for name in names}
    axes = jax.tree.map(lambda x: None, model).tree_replace(dict.fromkeys(names, 0))
    return model.tree_replace(leaves), axes


def leaf(model, name):
    for part in name.split("."):
        model = getattr(model, part)
    return model


def heavier(model, keys):
    return drawn_by(model, keys, ("link.inertia.mass", "geom_friction"))


def painted(model, keys):
    return drawn_by(model, keys, ("geom_solmix",))  # which Brax's spring physics never looks at


def variation(name, **more):
    return make_variation(WorkersConfig(count=3, randomizer=f"{__name__}:{name}", **more))


@pytest.fixture(scope="module")
def hopper():
    return brax_environment("hopper", "spring")


def test_every_worker_has_a_draw_of_its_own(hopper):
    workers = variation("heavier")
    draw = jax.jit(lambda worker: vary_physics(hopper.sys, of_workers(workers, worker)))
    models = [draw(jnp.int32(worker)) for worker in range(3)]
    factors = [model.link.inertia.mass / hopper.sys.link.inertia.mass for model in models]
    for factor, model in zip(factors, models, strict=True):
        np.testing.assert_allclose(factor, factor[0], rtol=1e-6)
        np.testing.assert_allclose(model.geom_friction, hopper.sys.geom_friction * factor[0], rtol=1e-6)
        np.testing.assert_array_equal(model.geom_size, hopper.sys.geom_size)
    assert len({float(factor[0]) for factor in factors}) == 3
    assert all(0.5 <= factor[0] <= 2 for factor in factors)


def test_it_is_the_same_for_the_same_seed():
    of = lambda **more: np.asarray(variation("heavier", **more).drawn.seed)
    np.testing.assert_array_equal(of(), of(randomizer_seed=0))
    assert not np.isin(of(), of(randomizer_seed=1)).any()


def test_what_makes_no_difference_is_refused(hopper):
    check_variation(hopper, variation("heavier"))
    with pytest.raises(UserError, match="got a randomizer, which makes no difference: in Hopper neither"):
        check_variation(hopper, variation("painted"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nobody", "workers.randomizer: .*: the module .* has no nobody"),
        ("__doc__", "allowed: a function of a model and keys"),
        ("leaf", "workers.randomizer: cannot draw a model of Hopper"),
    ],
)
def test_a_mistake_is_told_in_a_line(hopper, name, says):
    with pytest.raises(UserError, match=says) as told:
        check_variation(hopper, variation(name))
    assert "\n" not in str(told.value)


def test_other_factors_multiply(hopper):
    workers = variation("heavier", environments=({"workers": (2,), "mass": 3.0},))
    alone = variation("heavier")
    both, one = (vary_physics(hopper.sys, of_workers(of, 1)) for of in (workers, alone))
    np.testing.assert_allclose(both.link.inertia.mass, 3 * one.link.inertia.mass, rtol=1e-6)
