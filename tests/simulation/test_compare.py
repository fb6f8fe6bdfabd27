"""What is reported is what the clock did."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic
from rich.console import Console

from nigt_jax.clocks import Round, YoungerThan, clock_key, exchange_time, make_clock, play_round, to_float64
from nigt_jax.config import METHODS as SECTIONS
from nigt_jax.config import check_config
from nigt_jax.errors import RunError
from nigt_jax.methods import METHODS
from nigt_jax.report import show_comparison
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.simulation import _compare, _sized, answer, compare, to_json
from nigt_jax.simulation._arrivals import play_arrivals
from nigt_jax.simulation._play import refuse_nonsense

ROUNDS = 55  # more than one call of the compiled program
NOT_SIMULATED = {name for name, own in SECTIONS.items() if own.not_simulated}
RANDOM = {
    "seed": 7,
    "method": {"batch_size": 6},
    "workers": {"count": 4, "noise": {"family": "exponential"}, "topology": "shared-link", "carry_over": True},
}


def only(monkeypatch, *names):
    """Has clocks of these names alone compared: each is a program to compile."""
    some = tuple(kind for kind in _compare.kinds() if kind.name in names)
    monkeypatch.setattr(_compare, "kinds", lambda: some)


@pytest.mark.parametrize("name", [pytest.param("rennala", marks=pytest.mark.slow), "malenia"])
def test_totals_are_those_of_round_after_round(name, monkeypatch):
    only(monkeypatch, name)
    config = check_config(RANDOM)
    got = compare(config, ROUNDS).figures[name]
    clock = make_clock(config.workers, 1, 6)
    rule = METHODS[f"{name}_nigt"].rounds.rule(6, 4)
    step = jax.jit(lambda state: play_round(clock, rule, state))
    state = clock.begin(clock_key(7))
    counted, discarded, elapsed, messages = np.zeros(4), np.zeros(4), 0.0, 0
    for _ in range(ROUNDS):
        round, state = step(state)
        counted, discarded = counted + np.asarray(round.counts), discarded + np.asarray(round.discarded)
        elapsed += float(round.elapsed) + float(exchange_time(clock, round.counts > 0))
        messages += int((round.counts > 0).sum())
    assert got.rounds == got.exchanges == ROUNDS
    assert got.counted == tuple(counted)
    assert got.discarded == tuple(discarded)
    assert got.messages == messages
    assert got.time == pytest.approx(to_float64(state.now))
    assert got.round_time * ROUNDS == pytest.approx(elapsed)
    assert got.gradients_per_time == pytest.approx(counted.sum() / got.time)
    assert got.discarded_fraction == pytest.approx(discarded.sum() / (counted + discarded).sum())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"counts": [[2, 1], [0, 0], [2, 1]]}, r"0 gradients \(0 of a worker\) in a time of 2"),
        ({"counts": [[2, 1], [2**31 - 1, -4], [2, 1]]}, r"2,147,483,643 gradients \(-4 of a worker\)"),
        ({"elapsed": [1, 0, 1]}, r"3 gradients \(1 of a worker\) in a time of 0"),
        ({"elapsed": [1, np.inf, 1]}, "in a time of inf"),
    ],
)
def test_a_round_that_cannot_be_right_stops_the_simulation(wrong, says):
    good = {"counts": [[2, 1]] * 3, "elapsed": [1, 2, 3]}
    made = lambda rows: Round(
        np.array(rows["counts"], np.int32), np.array(rows["elapsed"], np.float32), np.zeros((3, 2)), np.ones(3, bool)
    )
    refuse_nonsense(made(good), 3, 50)
    refuse_nonsense(made(good | wrong), 1, 50)  # what is not asked for means nothing
    with pytest.raises(RunError, match=f"round 52 cannot be right, .*{says}"):
        refuse_nonsense(made(good | wrong), 3, 50)


def test_everything_has_figures_and_shares_add_up():
    comparison = compare(check_config(RANDOM), 9)
    assert {m for f in comparison.figures.values() for m in f.methods} == set(METHODS) - NOT_SIMULATED
    assert comparison.not_available.keys() == NOT_SIMULATED
    for figures in comparison.figures.values():
        assert sum(figures.shares) == pytest.approx(1)
        assert figures.shortest_round <= figures.round_time <= figures.longest_round
        assert figures.bounds is None  # theory is of fixed times
    assert comparison.figures["m_synchronous"].batch_size == 4


def test_the_clock_is_that_of_training():
    runtime = SimulatedRuntime(check_config({"seed": 3, "training": {"devices": 1, "lanes": 1}}), Quadratic())
    key = runtime.initial_state().clock.key[0]
    assert jnp.array_equal(jax.random.key_data(key), jax.random.key_data(clock_key(3)))


SHORT = {"start": 2.5, "factor": 0}


def silent(*workers, **more):
    return check_config(
        {
            "method": {"batch_size": 5},
            "workers": {
                "count": 3,
                "compute_time": {"values": [1, 1, 2]},
                "communication_time": {"scale": 0},
                "speed": {"changes": [{**SHORT, "workers": list(workers)}], **more},
            },
        }
    )


@pytest.fixture(scope="module")
def two_stop():
    """What is said of workers of which the second and the third stop for ever at 2.5."""
    return answer(silent(2, 3), 5)


def test_a_round_that_never_ends_names_who_it_waits_for(two_stop, monkeypatch):
    figures = two_stop[0].figures
    # Both stop for ever at 2.5. Until then worker 2 has finished the two gradients of its share; worker 3 has not.
    assert (figures["synchronous"].never_ends.round, figures["synchronous"].never_ends.waits_for) == (1, (3,))
    assert figures["synchronous"].rounds == 0
    assert figures["malenia"].never_ends.waits_for == (2, 3)
    assert figures["malenia"].rounds == figures["m_synchronous"].rounds == 1
    assert figures["m_synchronous"].never_ends.waits_for == (2, 3)
    # Worker 1 has made its update at 3, and worker 2 owes one for ever.
    assert figures["ringleader"].never_ends.waits_for == (2,)
    assert figures["ringleader"].rounds == 2
    assert figures["rennala"].never_ends is figures["afedpg"].never_ends is None
    assert figures["rennala"].rounds == 5
    only(monkeypatch, "rennala", "afedpg")
    everyone = compare(silent(1, 2, 3), 5).figures
    assert everyone["rennala"].never_ends.waits_for == (1, 2, 3)
    assert everyone["afedpg"].rounds == 5  # as many as there were
    assert str(everyone["afedpg"].never_ends) == "round 6 never comes: it waits for workers 1, 2, 3"


def test_an_outage_that_ends_is_only_waited_for(monkeypatch):
    only(monkeypatch, "malenia", "synchronous", "afedpg")
    figures = compare(silent(3, period=10), 5).figures  # every day anew
    assert all(f.never_ends is None for f in figures.values())


def test_ringmaster_discards_what_is_too_old():
    config = check_config(RANDOM)
    clock = make_clock(config.workers, 1, 6)
    played = play_arrivals(clock, YoungerThan(jnp.int32(3)), 200, clock_key(7))
    updates, sent = 0, [0] * 4
    columns = (played.worker, played.counted, played.updates, played.delay)
    for worker, counted, makes, delay in zip(*columns, strict=True):
        assert delay == updates - sent[worker]
        assert counted == (delay < 3)
        assert makes == counted
        updates += int(counted)
        sent[worker] = updates
    assert 0 < played.counted.sum() < 200
    everything = play_arrivals(clock, YoungerThan(jnp.int32(10**9)), 200, clock_key(7))
    np.testing.assert_array_equal(everything.time, played.time)  # discarding changes nobody's time
    assert everything.counted.all()
    # One message at a time on the link.
    assert np.all(played.sending[1:] >= played.time[:-1] - 1e-5)
    assert np.all(played.sending >= played.ready - 1e-5)


def test_allreduce_is_not_for_single_arrivals(monkeypatch):
    only(monkeypatch, "rennala", "afedpg")
    config = check_config({"method": {"batch_size": 4}, "workers": {"topology": "allreduce", "count": 4}})
    comparison = compare(config, 2)
    assert set(comparison.not_available) == {"afedpg"} | NOT_SIMULATED
    assert comparison.figures["rennala"].messages == 2 * 4


@pytest.mark.parametrize("width", [80, 120])
def test_tables(two_stop, width):
    comparison, found = two_stop
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    show_comparison(console, comparison, found)
    text = console.file.getvalue()
    for word in ("rennala*", "malenia", "ringmaster", "discarded", "worker 3", "<- fastest", "--method.batch_size 5"):
        assert word in text
    assert "synchronous_nigt, synchronous_pg: round 1 never ends: it waits for worker 3" in text
    assert max(map(len, text.splitlines())) <= 120
    data = json.loads(to_json(comparison, found, None))
    assert data["clock_of"]["rennala_pg"] == "rennala"
    reason = "never ends: it waits for worker 3"
    assert data["clocks"]["synchronous"]["never_ends"] == {"round": 1, "waits_for": [3], "reason": reason}


def test_programs_for_few_workers_and_for_many_agree(monkeypatch):
    config = check_config(
        {"workers": {"count": 4, "compute_time": {"worker_exponent": 1}}, "method": {"batch_size": 6}}
    )
    few = compare(config, 3)
    monkeypatch.setattr(_sized, "_FEW", 0)
    many = compare(config, 3)
    for name, figures in few.figures.items():
        other = many.figures[name]
        assert figures.counted == other.counted
        assert (figures.time, figures.shortest_round, figures.longest_round) == (
            other.time,
            other.shortest_round,
            other.longest_round,
        )
        assert figures.effective_gradients == pytest.approx(other.effective_gradients, rel=1e-6)
