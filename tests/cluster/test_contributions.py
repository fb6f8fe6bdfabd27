"""Workers that keep something, and upload what has changed enough: LAPG on real workers, whoever is lost meanwhile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from virtual import Crew, make

from nigt_jax.errors import RunError
from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import METHODS
from nigt_jax.runtimes.cluster._by_contribution import ByContribution

CURVATURE, OPTIMA = np.array([0.3, 0.6, 2.0]), np.array([1.0, -1.0, 0.5])
LAPG = {"learning_rate": 0.2, "trigger_weight": 0.4, "trigger_window": 3, "noise_weight": 0.0, "max_silence": 4}
ROUNDS = 12


class OfQuadratics(WorkUnits):
    """A worker whose objective is -a/2 |theta - b|^2 in every coordinate, without noise; a and b are coefficients."""

    def gradients(self):
        """The exact ones."""
        curvature, optimum = self.coefficients
        return jax.tree.map(lambda x: -curvature * (x - optimum)[None], self.params)

    def variances(self):
        """None at all."""
        return jnp.zeros(1)


class LazyCrew(Crew):
    """Virtual workers that decide as real ones do, and lose what they keep when they die."""

    def __init__(self, *arguments, **changes):
        super().__init__(*arguments, **changes)
        self.has = {}  # of each worker its newest order, and what came of it

    def give(self, workers, order, assignment, since=None):
        self.assignment = assignment
        return super().give(workers, order, assignment, since)

    def start(self, worker):
        self.has.pop(worker, None)
        super().start(worker)

    def delivered(self, worker, order):
        kept = order.kept
        if kept is None:
            number, kept = self.has[worker]
            assert number == order.after
        real = lambda x: jnp.asarray(x, jnp.float32)
        about = (real(CURVATURE[worker]), real(OPTIMA[worker]))
        work = OfQuadratics(None, self.assignment.params, None, None, about, jnp.ones(1, jnp.int32))
        (contribute,) = METHODS["lapg"].worker.exchanges(self.assignment.told[1])
        sends, after = contribute(jax.tree.map(lambda x: jnp.asarray(x)[None], kept), work, *self.assignment.told)
        self.has[worker] = (order.number, jax.tree.map(lambda x: x[0], after))
        unit = self.unit(worker, 2)._replace(gradient=jax.tree.map(lambda x: np.asarray(x[0]), sends.message))
        return unit if sends.uploads[0] else unit._replace(gradient=())


def lazy(crew=None, runtime=None):
    return make("lapg", [1.0, 1.5, 4.0], ByContribution, runtime, crew, LazyCrew, **LAPG)


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(x)[0]) for x in jax.tree.leaves(tree)]).astype(np.float64)


def by_the_book(start, rounds, silent=()):
    """Parameters and uploads of LAPG in float64; (round, worker) in `silent` neither computes nor uploads."""
    theta, uploaded, quiet = start, np.zeros((3, start.size)), np.zeros(3, int)
    squares, rows = np.zeros(3), []
    for k in range(rounds):
        gradients = -CURVATURE[:, None] * (theta - OPTIMA[:, None])
        change = gradients - uploaded
        threshold = 0.4 * squares.sum() / 0.2**2
        uploads = (np.square(change).sum(1) >= threshold) | (quiet >= 4) | (k == 0)
        uploads &= [(k, m) not in silent for m in range(3)]
        uploaded = np.where(uploads[:, None], gradients, uploaded)
        quiet = np.where(uploads, 0, quiet + 1)
        move = 0.2 * uploaded.mean(0)
        theta, squares = theta + move, np.concatenate([[np.square(move).sum()], squares[:-1]])
        rows.append((theta, int(uploads.sum())))
    return rows


def play(driver, state, step, rounds=ROUNDS):
    rows = []
    for _ in range(rounds):
        state, done = driver.one(state, step)
        rows.append((flat(state.server.sent), done))
    return state, rows


def same(rows, wanted):
    for (theta, done), (theta_wanted, uploads) in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(theta, theta_wanted, rtol=1e-4, atol=1e-5)
        assert done.uploads == uploads


def test_it_is_lapg_and_uploads_are_rare():
    driver, state, step, _ = lazy()
    _, rows = play(driver, state, step)
    wanted = by_the_book(flat(state.server.sent), ROUNDS)
    same(rows, wanted)
    assert sum(uploads for _, uploads in wanted) < 2 * ROUNDS  # of 3
    assert all(done.gradients == 6 and done.discarded == 0 for _, done in rows)
    assert [done.downloads for _, done in rows] == [6] + [3] * (ROUNDS - 1)  # at first they are told what they keep


@pytest.mark.parametrize("worker", [0, 2])
def test_who_dies_goes_on_from_what_the_server_knows(worker):
    """Its order in round 5 is number 15 + worker: it dies over that, and what it kept is gone."""
    driver, state, step, crew = lazy(crew={"die": [(worker, 15 + worker, 0)]})
    _, rows = play(driver, state, step)
    same(rows, by_the_book(flat(state.server.sent), ROUNDS))
    assert crew.members[worker].incarnation == 0
    assert [done.discarded for _, done in rows] == [2 if k == 5 else 0 for k in range(ROUNDS)]


def test_a_run_goes_on_with_fresh_workers():
    driver, state, step, _ = lazy()
    middle, rows = play(driver, state, step, 5)
    other, _, _, _ = lazy()
    _, more = play(other, middle, step, ROUNDS - 5)
    same(rows + more, by_the_book(flat(state.server.sent), ROUNDS))


def test_rounds_that_are_done_once_more():
    """The driver went back to a checkpoint, and its workers have seen rounds that nobody knows of."""
    driver, state, step, _ = lazy()
    middle, _ = play(driver, state, step, 5)
    play(driver, middle, step, 3)
    _, more = play(driver, middle, step, ROUNDS - 5)
    same(more, by_the_book(flat(state.server.sent), ROUNDS)[5:])


def test_who_is_left_out_is_silent():
    lost = {"die": [(2, 5, 0)], "mute": [2]}  # in round 1
    driver, state, step, crew = lazy(crew=lost, runtime={"patience": 0.05, "without_the_lost": True})
    state_after, rows = play(driver, state, step, 4)
    wanted = by_the_book(flat(state.server.sent), 4, silent=[(k, 2) for k in range(1, 4)])
    same(rows, wanted)
    assert crew.members[2].news == "is gone; the run goes on without it"
    assert [done.gradients for _, done in rows] == [6, 4, 4, 4]
    driver, state, step, _ = lazy(crew=lost, runtime={"patience": 0.05})
    with pytest.raises(RunError, match=r"the round has waited 0.05 s for workers that are gone: 3$"):
        play(driver, state, step, 4)
    del state_after


def test_who_is_left_out_is_waited_for_where_nobody_else_is_to_be_there():
    lost = {"die": [(0, 3, 0)], "mute": [0]}  # in round 1
    driver, state, step, _ = lazy(crew=lost, runtime={"patience": 0.05, "without_the_lost": True})
    state, rows = play(driver, state, step, 2)
    assert [done.gradients for _, done in rows] == [6, 4]
    driver.watch.want(1)
    with pytest.raises(RunError, match=r"^the round has waited 0.05 s for workers that are gone: 1$"):
        driver.one(state, step)
