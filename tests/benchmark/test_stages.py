"""Stages that share a program: how many programs there are, and that a stage does what it should and no more."""

import jax
import jax.numpy as jnp
import pytest
from probes import Quadratic

from nigt_jax.benchmark import PROGRAMS, STAGES, compile_stages, measure
from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime, Spmd
from nigt_jax.training import run_round, spent_of, whole_steps

pytestmark = pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # Brax's own habits


def config(devices=1):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [8]},
            "method": {"batch_size": 6},
            "training": {"lanes": 3, "devices": devices, "platform": "cpu", "compilation_cache": False},
        }
    )


@pytest.mark.slow
def test_seven_stages_are_three_programs(monkeypatch):
    compiled, compile = [], Spmd.compile

    def counted(*arguments, **keywords):
        compiled.append(arguments)
        return compile(*arguments, **keywords)

    monkeypatch.setattr(Spmd, "compile", counted)
    seen = []
    report = measure(config(devices=2), 1, announce=seen.append, show=lambda row: seen.append(row.stage))
    assert len(compiled) == len(report.programs) == 3
    assert len(STAGES) == len(report.rows) == 7
    assert [tuple(program.stages) for program in report.programs] == [shared.stages for shared in PROGRAMS]
    assert [name for name in seen if name in STAGES] == list(STAGES)  # each was shown, in order
    place = seen.index("+ policy")
    assert seen[place + 1] == "compiling + queue"  # and before the next program was compiled
    assert all(len(row.seconds) == 1 for row in report.rows)


@pytest.fixture(scope="module")
def numbers():
    """What the programs make of a state, by stage, and of the same with other parameters."""
    runtime = SimulatedRuntime(config(), Quadratic())
    state = runtime.initial_state()
    sent = jax.tree.map(lambda x: x + 0.5, state.server.sent)
    others = (state, runtime.place(state._replace(server=state.server._replace(sent=sent))))
    found = {}
    for shared in (PROGRAMS[0], PROGRAMS[2]):
        for stage, way in compile_stages(runtime, shared).items():
            found[stage] = [float(way(one)[2]) for one in others]
    return found


def test_physics_alone_does_not_ask_the_policy(numbers):
    assert numbers["physics"][0] == numbers["physics"][1]
    assert numbers["+ policy"][0] != numbers["+ policy"][1]
    assert numbers["physics"][0] != numbers["+ policy"][0]


def test_each_stage_adds_its_own(numbers):
    """On one device there is nobody to tell, so what comes of gradients is the same after they were told."""
    assert numbers["+ storage"][0] != numbers["+ gradient"][0]
    assert numbers["+ gradient"] == numbers["+ communication"]
    assert numbers["+ update"][0] not in (numbers["+ storage"][0], numbers["+ gradient"][0])


@pytest.mark.slow
def test_the_last_stage_is_a_whole_round():
    """Its steps are those of the rounds that the run would make from the same state, were it not to learn."""
    runtime = SimulatedRuntime(config(), Quadratic())
    state = runtime.initial_state()
    found = {stage: way(state) for stage, way in compile_stages(runtime, PROGRAMS[2]).items()}
    steps = {stage: int(whole_steps(useful)) for stage, (useful, _, _) in found.items()}
    assert set(steps.values()) == {3 * 6 * 5}  # rounds, episodes, steps

    def rounds(parts, state, hyperparameters):
        goes = jnp.ones(1, bool)
        later = [state._replace(iteration=state.iteration + k) for k in range(3)]
        states = [run_round(parts, one, hyperparameters, spent_of(1), goes)[0] for one in later]
        leaves = jax.tree.leaves([(after.server, after.normalizer, after.estimator) for after in states])
        return sum(jnp.sum(x, dtype=jnp.float32) for x in leaves)

    assert float(found["+ update"][2]) == pytest.approx(float(runtime.program(rounds)(state)), rel=1e-5)
