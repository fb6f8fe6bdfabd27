"""Which programs of a sweep serve each other's runs."""

from nigt_jax.sweeps import load_sweep
from nigt_jax.sweeps._programs import kind_of, programs_of


def test_what_counts_steps_is_a_kind_of_its_own(tmp_path):
    """Runs in rounds and runs in env_steps share a program, which counts steps; one of the former alone does not."""
    (tmp_path / "base.yaml").write_text("{environment: {name: fast}, method: {batch_size: 2}, training: {devices: 1}}")
    (tmp_path / "sweep.yaml").write_text(
        "base: base.yaml\ngrid: {seed: [0, 1], method.learning_rate_half_life: [100, 200 env_steps]}\n"
    )
    runs = load_sweep(tmp_path / "sweep.yaml").runs
    assert len(programs_of(runs, "cpu")) == 1
    in_rounds = [run for run in runs if not run.config.counts_steps]
    by_steps = [run for run in runs if run.config.counts_steps]
    assert len(in_rounds) == len(by_steps) == 2
    assert kind_of(in_rounds[:1]) == kind_of(in_rounds[1:])
    assert kind_of(runs) == kind_of(by_steps) != kind_of(in_rounds)
