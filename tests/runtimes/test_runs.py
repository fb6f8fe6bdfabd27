"""Many runs in one program are the same runs one after the other."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood

from nigt_jax.config import Noise, PowerLaw, check_config, converted
from nigt_jax.errors import UserError
from nigt_jax.runtimes import SimulatedRuntime, make_parts
from nigt_jax.runtimes._places import Places
from nigt_jax.training import stacked_hyperparameters


def config(name="rennala_nigt", estimator="leave_one_out", devices=1, spmd="pmap", **workers):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {
                "name": name,
                "batch_size": 4 if name == "m_synchronous_nigt" else 8,
                "momentum": 0.75,
                "learning_rate": 0.1,
                "trajectories_per_gradient": 2,
            }
            | ({"max_delay": 3} if name == "ringmaster_nigt" else {}),
            "workers": {"count": 4, "noise": {"family": "exponential"}, **workers},
            "training": {
                "iterations": 8, "chunk": 4, "devices": devices, "spmd": spmd, "lanes": 5, "platform": "cpu",
            },
            "evaluation": {"episodes": 3},
        }
    )  # fmt: skip


def in_rounds(method, **changes):
    """The method with changes; batch sizes only where it has rounds."""
    there = {name: value for name, value in changes.items() if "batch_size" not in name or method.schedule == "rounds"}
    return dataclasses.replace(method, **there)


def variants(cfg):
    """Four runs: seeds, step sizes, momenta, batch sizes and discounts."""
    method = functools.partial(in_rounds, cfg.method)
    # Rounds of Malenia are larger than their M; how they are split up shows in what a critic learns.
    batch_size = 8 if cfg.method.name == "malenia_nigt" else 4
    estimator = dataclasses.replace(cfg.estimator, discount=0.5)
    delay = {"max_delay": 2} if cfg.method.name == "ringmaster_nigt" else {}
    return [
        cfg,
        dataclasses.replace(cfg, seed=1),
        dataclasses.replace(cfg, method=method(learning_rate=0.4, momentum=0.5, batch_size=batch_size)),
        dataclasses.replace(cfg, seed=2, estimator=estimator, method=method(learning_rate_half_life=3.0, **delay)),
    ]


def run(runtime):
    runtime.compile()
    state = runtime.initial_state()
    state, first = runtime.run(state, 2)
    state, second = runtime.run(state, 1)
    metrics = jax.tree.map(lambda *m: np.concatenate(m), first, second)
    return metrics._replace(computed_steps=metrics.env_steps), runtime.evaluate(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "estimator", "devices", "spmd"),
    [
        ("rennala_nigt", "leave_one_out", 1, "pmap"),
        ("malenia_nigt", "gae", 2, "pmap"),
        ("ringmaster_nigt", "gae", 4, "shard_map"),
        ("ringmaster_nigt", "return_to_go", 2, "shard_map"),
        ("ringleader_nigt", "gae", 2, "pmap"),
    ],
)
def test_together_and_alone(name, estimator, devices, spmd):
    environments = [{"workers": [2], "gravity": 1.0}] if name == "malenia_nigt" else []
    cfg = config(name, estimator, devices, spmd, environments=environments)
    cfg = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, devices="auto")) if devices == 1 else cfg
    runs = variants(cfg)
    metrics, evaluations = run(SimulatedRuntime(cfg, EndsWhenGood(), runs=runs))
    for k, own in list(enumerate(runs))[1:]:
        alone = dataclasses.replace(own, training=dataclasses.replace(own.training, devices=1))
        wanted, (evaluation,) = run(SimulatedRuntime(alone, EndsWhenGood()))
        for a, b in zip(jax.tree.leaves(metrics), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a[:, k], b[:, 0], rtol=2e-4, atol=2e-5)
        for name, value in evaluation.items():
            np.testing.assert_allclose(evaluations[k][name], value, rtol=1e-4)
    assert (
        len(set(map(tuple, metrics.gradient_norm.T.tolist()))) >= 3
    )  # they do differ; AFedPG's by more than seed later


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("rennala_nigt", "malenia_nigt", "synchronous_nigt", "m_synchronous_nigt"),
        ("afedpg", "ringmaster_nigt"),
    ],
)
def test_methods_of_a_family_share_a_program(names):
    """Each has the numbers of its own program, in any order, whatever the first one is."""
    changes = {"m_synchronous_nigt": {"batch_size": 3}, "ringmaster_nigt": {"max_delay": 1}, "afedpg": {}}
    own = {name: changes.get(name, {"batch_size": 5}) for name in reversed(names)}
    runs = [changed(dataclasses.replace(config(name), seed=3), "method", **own[name]) for name in own]
    metrics, evaluations = run(SimulatedRuntime(runs[1], EndsWhenGood(), runs=runs))
    for k, own in enumerate(runs):
        wanted, (evaluation,) = run(SimulatedRuntime(own, EndsWhenGood()))
        for name in ("gradients", "discarded", "uploads", "downloads", "env_steps"):
            np.testing.assert_array_equal(getattr(metrics, name)[:, k], getattr(wanted, name)[:, 0])
        np.testing.assert_array_equal(metrics.time.high[:, k], wanted.time.high[:, 0])
        np.testing.assert_array_equal(metrics.time.low[:, k], wanted.time.low[:, 0])
        np.testing.assert_allclose(metrics.gradient_norm[:, k], wanted.gradient_norm[:, 0], rtol=2e-4)
        assert evaluations[k]["return_mean"] == pytest.approx(evaluation["return_mean"], rel=1e-4)
    assert len({(*metrics.gradients[:, k], *metrics.time.high[:, k]) for k in range(len(runs))}) == len(runs)


@pytest.mark.parametrize("name", ["rennala_nigt", pytest.param("ringmaster_nigt", marks=pytest.mark.slow)])
def test_a_run_that_breaks_breaks_alone(name):
    """As one with too long a step would, whose parameters are no numbers any more."""
    cfg = config(name)
    runs = [dataclasses.replace(cfg, seed=k, method=in_rounds(cfg.method, initial_batch_size=5)) for k in (0, 1)]
    runtime = SimulatedRuntime(
        dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, devices=1)), EndsWhenGood(), runs=runs
    )
    runtime.compile()
    norms = []
    for broken in (False, True):
        state = jax.device_get(runtime.initial_state())
        state = jax.tree.map(lambda x: x.reshape(2, *x.shape[2:]), state)
        if broken:
            ruined = jax.tree.map(lambda x: x.at[0].set(jnp.nan), jax.tree.map(jnp.asarray, state.server.sent))
            state = state._replace(server=state.server._replace(sent=ruined))
            if state.sent:
                everywhere = jax.tree.map(lambda x: jnp.asarray(x).at[0].set(jnp.nan), state.sent.params)
                state = state._replace(sent=state.sent._replace(params=everywhere))
        norms.append(runtime.run(runtime.place(state), 2)[1].gradient_norm)
    healthy, beside_a_broken_one = norms
    assert np.isnan(beside_a_broken_one[:, 0]).any()
    np.testing.assert_array_equal(beside_a_broken_one[:, 1], healthy[:, 1])


@pytest.mark.slow
def test_runs_on_several_devices_tell_each_other_nothing():
    cfg = config(devices=2)
    runtime = SimulatedRuntime(cfg, EndsWhenGood(), runs=variants(cfg))
    text = runtime.chunk.text()
    assert not any(name in text for name in ("all-reduce", "all-gather", "collective-permute", "all-to-all"))


def test_runs_that_devices_cannot_share():
    cfg = config(devices=4)
    with pytest.raises(UserError, match=r"training.devices: got 4, allowed: up to 3, one for each of the runs"):
        SimulatedRuntime(cfg, EndsWhenGood(), runs=variants(cfg)[:3])


def test_another_grid_of_the_same_size_is_the_same_program():
    """Seeds, step sizes and discounts are arguments, and no constant of the program gives them away."""
    cfg = config(devices=1)
    grids = variants(cfg)[:2], [dataclasses.replace(run, seed=9) for run in variants(cfg)[2:]]
    one, other = (SimulatedRuntime(cfg, EndsWhenGood(), runs=runs).chunk.text() for runs in grids)
    assert what_it_does(one) == what_it_does(other)


def what_it_does(text):
    """A program without the lines of our code that it comes of: those are named by whoever was traced first."""
    text = re.sub(r"^(FileNames|FunctionNames|FileLocations|StackFrames)\n(.+\n)*", "", text, flags=re.MULTILINE)
    return re.sub(r", metadata=\{[^}]*\}", "", text)


def changed(cfg, section, **changes):
    old, name = getattr(cfg, section), changes.get("name")
    new = dataclasses.replace(old, **changes) if name is None else converted(old, name)
    return dataclasses.replace(cfg, **{section: new})


@pytest.mark.parametrize(
    ("section", "changes", "line"),
    [
        ("environment", {"horizon": 6}, r"runs\[1\].environment.horizon: got 6, but the configuration of all has 5"),
        (
            "method",
            {"name": "rennala_pg"},
            r"runs\[1\].method.name: got rennala_pg, but .* differ in .*, in method.name ",
        ),
        ("method", {"trajectories_per_gradient": 3}, r"runs\[1\].method.trajectories_per_gradient: got 3, but"),
        ("estimator", {"name": "gae"}, r"runs\[1\].estimator.name: got gae, but"),
        ("evaluation", {"episodes": 4}, r"runs\[1\].evaluation.episodes: got 4, but"),
        ("workers", {"count": 5}, r"runs\[1\].workers: differ from those of runs\[0\] in kind"),
        ("workers", {"noise": Noise()}, r"runs\[1\].workers: differ from those of runs\[0\] in kind"),
        ("workers", {"topology": "shared-link"}, r"runs\[1\].workers: differ from those of runs\[0\] in kind"),
    ],
)
def test_runs_that_are_another_program(section, changes, line):
    cfg = config()
    with pytest.raises(UserError, match=line):
        SimulatedRuntime(cfg, EndsWhenGood(), runs=[cfg, changed(cfg, section, **changes)])


def test_workers_may_differ_in_their_times():
    cfg = config()
    runtime = SimulatedRuntime(
        cfg, EndsWhenGood(), runs=[cfg, changed(cfg, "workers", compute_time=PowerLaw(scale=2.0))]
    )
    runtime.compile()
    _, metrics = runtime.run(runtime.initial_state(), 1)
    assert metrics.time.high[0, 1] > 1.3 * metrics.time.high[0, 0]  # exchanges take as long as before


def test_recordings_of_as_many_rows_share_a_program(tmp_path):
    """How the rows are spread over the workers is an argument of it."""
    rows = {"a": [1, 2, 3, 4, 4], "b": [4, 3, 2, 1, 1], "longer": [1, 2, 3, 4, 4, 4]}
    for name, workers in rows.items():
        lines = [f"{i},{k + 1}" for k, i in enumerate(workers)]
        (tmp_path / name).write_text("\n".join(["worker,duration", *lines]))
    runs = [config(noise={"family": "none"}, trace=str(tmp_path / name)) for name in rows]
    parts = make_parts(runs[0], EndsWhenGood(), 1)
    stacked = functools.partial(
        stacked_hyperparameters, policy=parts.policy, estimator=parts.estimator, method=parts.method
    )
    work = stacked(runs[:2]).clock.work
    number = jnp.broadcast_to(jnp.arange(3), (2, 4, 3))
    got = jax.vmap(lambda work, number: work.amounts(jax.random.key(0), number))(work, number)
    assert got[0].tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 5, 4]]
    assert got[1].tolist() == [[4, 5, 4], [3, 3, 3], [2, 2, 2], [1, 1, 1]]
    with pytest.raises(UserError, match=r"runs\[1\].workers: differ from .*, or recordings of as many rows$"):
        stacked([runs[0], runs[2]])


@pytest.mark.slow
def test_the_same_programs_serve_other_runs():
    """Three runs in the programs of four, on two devices: the numbers of a runtime of their own."""
    cfg = config("rennala_nigt", "return_to_go", devices=2)
    first = SimulatedRuntime(cfg, EndsWhenGood(), runs=variants(cfg))
    first.compile()
    others = [dataclasses.replace(one, seed=one.seed + 5) for one in variants(cfg)[:3]]
    again, own = first.for_runs(others), SimulatedRuntime(cfg, EndsWhenGood(), runs=others, room=4)
    assert again.chunk is first.chunk  # nothing is compiled again
    assert len(again) == len(own) == 3
    (ours, evaluated), (theirs, expected) = run(again), run(own)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert evaluated == expected
    assert ours.gradients.shape == (3, 3)
    kept = again.unplaced(again.initial_state())
    assert {x.shape[0] for x in jax.tree.leaves(kept)} == {3}


def test_other_runs_have_to_be_of_the_same_kind():
    cfg = config("rennala_nigt", "return_to_go")
    runtime = SimulatedRuntime(cfg, EndsWhenGood(), runs=variants(cfg)[:2])
    with pytest.raises(UserError, match="runs: got 4, allowed: up to 2, which the programs are made for"):
        runtime.for_runs(variants(cfg))
    with pytest.raises(UserError, match=r"runs\[0\].environment.horizon: got 7"):
        runtime.for_runs([dataclasses.replace(cfg, environment=dataclasses.replace(cfg.environment, horizon=7))])
    gamma = dataclasses.replace(cfg.workers, noise=Noise(family="gamma"))
    with pytest.raises(UserError, match="workers differ in kind"):
        runtime.for_runs([dataclasses.replace(cfg, workers=gamma)])
    by_steps = dataclasses.replace(cfg.method, learning_rate_half_life="200 env_steps")
    with pytest.raises(UserError, match="runs: something in them is in env_steps, which the programs do not count"):
        runtime.for_runs([dataclasses.replace(cfg, method=by_steps)])


def test_runs_that_rest_are_shared_out_over_devices():
    """Five runs in eight places on two devices: three and two of them, and none is lost."""
    places = Places(5, 8, 2)
    assert places.place.tolist() == [0, 4, 1, 5, 2]
    assert places.run[places.place].tolist() == [0, 1, 2, 3, 4]
    assert places.filled(list("abcde")) == ["a", "c", "e", "e", "b", "d", "e", "e"]
