"""Many runs in one program are the same runs one after the other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.training._trainer import Trainer


def config(name="rennala_nigt", estimator="leave_one_out", devices=1, spmd="pmap", **workers):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {
                "name": name,
                "batch_size": 8,
                "momentum": 0.75,
                "learning_rate": 0.1,
                "trajectories_per_gradient": 2,
                "max_delay": 3,
            },
            "workers": {"count": 4, "noise": {"family": "exponential"}, **workers},
            "training": {
                "iterations": 8, "chunk": 4, "devices": devices, "spmd": spmd, "lanes": 5, "platform": "cpu",
            },
            "evaluation": {"episodes": 3},
        }
    )  # fmt: skip


def variants(cfg):
    """Four runs: seeds, step sizes, momenta, batch sizes and discounts."""
    method = lambda **changes: dataclasses.replace(cfg.method, **changes)
    # Rounds of Malenia are larger than their M; how they are split up shows in what a critic learns.
    batch_size = 8 if cfg.method.name == "malenia_nigt" else 4
    estimator = dataclasses.replace(cfg.estimator, discount=0.5)
    return [
        cfg,
        dataclasses.replace(cfg, seed=1),
        dataclasses.replace(cfg, method=method(learning_rate=0.4, momentum=0.5, batch_size=batch_size)),
        dataclasses.replace(cfg, seed=2, estimator=estimator, method=method(learning_rate_half_life=3.0, max_delay=2)),
    ]


def run(trainer):
    trainer.compile()
    state = trainer.initial_state()
    state, first = trainer.run(state, 2)
    state, second = trainer.run(state, 1)
    metrics = jax.tree.map(lambda *m: np.concatenate(m), first, second)
    return metrics._replace(computed_steps=metrics.env_steps), trainer.evaluate(state)


@pytest.mark.parametrize(
    ("name", "estimator", "devices", "spmd"),
    [
        ("rennala_nigt", "leave_one_out", 1, "pmap"),
        ("malenia_nigt", "gae", 2, "pmap"),
        ("ringmaster_nigt", "gae", 4, "shard_map"),
    ],
)
def test_together_and_alone(name, estimator, devices, spmd):
    environments = [{"workers": [2], "gravity": 1.0}] if name == "malenia_nigt" else []
    cfg = config(name, estimator, devices, spmd, environments=environments)
    cfg = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, devices="auto")) if devices == 1 else cfg
    runs = variants(cfg)
    metrics, evaluations = run(Trainer(cfg, EndsWhenGood(), runs))
    for k, own in list(enumerate(runs))[1:3]:
        alone = dataclasses.replace(own, training=dataclasses.replace(own.training, devices=1))
        wanted, (evaluation,) = run(Trainer(alone, EndsWhenGood()))
        for a, b in zip(jax.tree.leaves(metrics), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a[:, k], b[:, 0], rtol=2e-4, atol=2e-5)
        for name, value in evaluation.items():
            np.testing.assert_allclose(evaluations[k][name], value, rtol=1e-4)
    assert (
        len(set(map(tuple, metrics.gradient_norm.T.tolist()))) >= 3
    )  # they do differ; AFedPG's by more than seed later


@pytest.mark.parametrize("name", ["rennala_nigt", "ringmaster_nigt"])
def test_a_run_that_breaks_breaks_alone(name):
    """As one with too long a step would, whose parameters are no numbers any more."""
    cfg = config(name)
    runs = [
        dataclasses.replace(cfg, seed=k, method=dataclasses.replace(cfg.method, initial_batch_size=5)) for k in (0, 1)
    ]
    trainer = Trainer(
        dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, devices=1)), EndsWhenGood(), runs
    )
    trainer.compile()
    norms = []
    for broken in (False, True):
        state = jax.device_get(trainer.initial_state())
        state = jax.tree.map(lambda x: x.reshape(2, *x.shape[2:]), state)
        if broken:
            ruined = jax.tree.map(lambda x: x.at[0].set(jnp.nan), jax.tree.map(jnp.asarray, state.server.sent))
            state = state._replace(server=state.server._replace(sent=ruined))
            if state.sent:
                everywhere = jax.tree.map(lambda x: jnp.asarray(x).at[0].set(jnp.nan), state.sent.params)
                state = state._replace(sent=state.sent._replace(params=everywhere))
        norms.append(trainer.run(trainer.place(state), 2)[1].gradient_norm)
    healthy, beside_a_broken_one = norms
    assert np.isnan(beside_a_broken_one[:, 0]).any()
    np.testing.assert_array_equal(beside_a_broken_one[:, 1], healthy[:, 1])


def test_runs_on_several_devices_tell_each_other_nothing():
    cfg = config(devices=4)
    trainer = Trainer(cfg, EndsWhenGood(), variants(cfg))
    text = trainer.compiled_text()
    assert not any(name in text for name in ("all-reduce", "all-gather", "collective-permute", "all-to-all"))


def test_runs_that_devices_cannot_share():
    cfg = config(devices=4)
    with pytest.raises(UserError, match=r"training.devices: got 4, allowed: a number that divides the 3 runs"):
        Trainer(cfg, EndsWhenGood(), variants(cfg)[:3])


def test_nothing_compiles_for_other_settings(caplog):
    """Step sizes and seeds are arguments: another grid of the same size is the same program."""
    cfg = config(devices=1)
    trainer = Trainer(cfg, EndsWhenGood(), variants(cfg)[:2])
    trainer.compile()
    state, _ = trainer.run(trainer.initial_state(), 1)
    with jax.log_compiles():
        trainer.run(state, 2)
    assert not [r.getMessage() for r in caplog.records if "XLA compilation" in r.getMessage()]
