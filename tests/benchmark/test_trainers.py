"""What rivals' training and its start are said to have taken."""

import jax
import jax.numpy as jnp
import pytest

from nigt_jax.benchmark import _trainers, train_by_brax, what_brax_misses


def test_what_starting_takes_is_all_but_training(monkeypatch):
    """Seven seconds until training begins, ten of compiling in its first epoch, half a second for each evaluation."""
    now = [100.0]
    monkeypatch.setattr(_trainers.time, "perf_counter", lambda: now[0])

    def train(progress_fn):
        now[0] += 7.0
        trained = 0.0
        progress_fn(0, {"eval/episode_reward": 0.0})  # before training
        for epoch, seconds in enumerate((10.0 + 2.0, 2.0, 2.0, 3.0, 2.0)):
            now[0] += seconds + 0.5
            trained += seconds
            progress_fn(50 * (epoch + 1), {"training/walltime": trained})
        raise AssertionError("it has been told that it is enough")

    made = train_by_brax(train, warm_up=2, repeats=3, unit=4)
    assert made.laps == [(200, 2.0), (200, 3.0), (200, 2.0)]
    assert made.starting_seconds == pytest.approx(7.0 + 10.0 + 2 * 0.5)
    assert made.steps_per_second == 100


def test_what_brax_is_given_back_is_laid_out_as_what_its_epochs_return():
    """Or JAX compiles an epoch for the one, and again for the other."""
    devices = jax.local_devices()[:2]
    with what_brax_misses():
        began = jax.device_put_replicated({"a": jnp.arange(3.0)}, devices)["a"]
    after = jax.pmap(lambda x: x + 1, axis_name="i", devices=devices)(began)
    assert began.shape == (2, 3)
    assert began.sharding == after.sharding
    assert began.committed == after.committed
