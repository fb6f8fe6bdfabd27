"""REC-MARL's critics and gradients against the joint problem, which NumPy solves in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.related import graph
from nigt_jax.related.rec_marl.exact import discounted, mean_rewards
from nigt_jax.related.rec_marl.model import Episodes, Model, choose, play, softmax_policies
from nigt_jax.related.rec_marl.tables import entry, expected_rewards, make_tables
from nigt_jax.related.rec_marl.update import heard_critics, learn_values, policy_gradient

AGENTS, STATES, ACTIONS, DISCOUNT = 3, 2, 2, 0.5
JOINT = np.array(list(itertools.product(range(2), repeat=2 * AGENTS)))  # s of all, then a of all
JOINT_STATES, JOINT_ACTIONS = JOINT[:, :AGENTS], JOINT[:, AGENTS:]
LINE = [[0, 1], [0, 1, 2], [1, 2]]
NEIGHBOURS = {"line": LINE, "alone": [[0], [1], [2]], "complete": [[0, 1, 2]] * 3}
WHO = np.arange(AGENTS)

pytestmark = pytest.mark.usefixtures("in_64_bits")


class Problem:
    """Random agents, with probabilities in halves and policies in quarters, so that batches can hold all there is."""

    def __init__(self, shape="line", seed=0):
        rng = np.random.default_rng(seed)
        self.near = NEIGHBOURS[shape]
        self.moves = rng.integers(0, STATES, (AGENTS, STATES, ACTIONS, 2))  # two next states, as likely
        self.tickets = np.sort(rng.integers(0, ACTIONS, (AGENTS, STATES, 4)), axis=-1)  # four actions, as likely
        self.tickets[..., 0], self.tickets[..., -1] = 0, 1
        self.kernel = np.stack([(self.moves == s).mean(-1) for s in range(STATES)], axis=-1)
        self.policies = np.stack([(self.tickets == a).mean(-1) for a in range(ACTIONS)], axis=-1)
        tables = [rng.normal(size=(4,) * len(near)) for near in self.near]
        self.joint_rewards = np.array(  # agent, joint of 64
            [[tables[i][tuple(2 * z[k] + z[AGENTS + k] for k in self.near[i])] for z in JOINT] for i in WHO]
        )
        self.first = np.array([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])

    def model(self):
        rewards = jnp.asarray(self.joint_rewards)

        def reward(states, actions):
            digits = jnp.concatenate([states, actions])
            return rewards[:, jnp.sum(digits * 2 ** np.arange(2 * AGENTS - 1, -1, -1, dtype=np.int32))]

        neighbours = np.array([[k in near for k in WHO] for near in self.near])
        return Model(neighbours, np.full(AGENTS, ACTIONS), self.first, self.kernel, reward, lambda chances, mean: mean)

    def joint_policy(self, policies):
        """Probability of z's actions in its states."""
        return np.prod([policies[k, JOINT_STATES[:, k], JOINT_ACTIONS[:, k]] for k in WHO], axis=0)

    def joint_kernel(self, policies):
        """[z, z']."""
        to = [self.kernel[k, JOINT_STATES[:, k], JOINT_ACTIONS[:, k]][:, JOINT_STATES[:, k]] for k in WHO]
        return np.prod(to, axis=0) * self.joint_policy(policies)

    def values(self):
        """Q of every agent, by a linear solve."""
        return np.linalg.solve(np.eye(64) - DISCOUNT * self.joint_kernel(self.policies), self.joint_rewards.T).T

    def worth(self, logits, horizon, first=None):
        """Discounted return, the mean of agents; logits may be complex."""
        policies = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        first = self.first if first is None else first
        now = np.prod([first[k, JOINT_STATES[:, k]] for k in WHO], axis=0) * self.joint_policy(policies)
        total = 0.0
        for t in range(horizon):
            total += DISCOUNT**t * (now @ self.joint_rewards.mean(0))
            now = now @ self.joint_kernel(policies)
        return total

    def slopes(self, horizon, first=None):
        """Derivatives of the joint problem in every logit, by complex differences."""
        logits = np.log(self.policies)
        found = np.zeros_like(logits)
        for place in np.ndindex(*logits.shape):
            moved = logits.astype(complex)
            moved[place] += 1e-30j
            found[place] = self.worth(moved, horizon, first).imag / 1e-30
        return found


def entries_of(model, states, actions):
    tables = make_tables(model)
    return jax.vmap(lambda s, a: entry(tables, model, s, a))(
        jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32)
    )


def fixed_point(problem):
    """TD on all that can happen, as often as it is likely: no noise is left. Returns Q of every agent at every z."""
    model = problem.model()
    before, after = [], []
    for z in JOINT:
        s, a = z[:AGENTS], z[AGENTS:]
        for coins in itertools.product(range(2), repeat=AGENTS):
            following = problem.moves[WHO, s, a, coins]
            options = [problem.tickets[k, following[k]] for k in WHO]
            after += [np.concatenate([following, actions]) for actions in itertools.product(*options)]
            before += [z] * 64
    both = np.stack([np.array(before), np.array(after)], axis=1)
    entries = entries_of(model, both[..., :AGENTS].reshape(-1, AGENTS), both[..., AGENTS:].reshape(-1, AGENTS))
    entries = entries.reshape(*both.shape[:2], AGENTS)
    number = {tuple(z): place for place, z in enumerate(JOINT)}
    rewards = problem.joint_rewards[:, [number[tuple(z)] for z in before]].T[:, None, :]

    def sweep(values, _):
        return learn_values(values, entries, jnp.asarray(rewards), DISCOUNT, jnp.float64(1.0))

    start = jnp.zeros(make_tables(model).entries)
    values, errors = jax.jit(lambda start: jax.lax.scan(sweep, start, None, length=50))(start)
    return np.asarray(values)[np.asarray(entries_of(model, JOINT_STATES, JOINT_ACTIONS))].T, errors


@pytest.mark.parametrize("shape", ["line", "complete"])
def test_critics_without_noise_are_the_solution_of_the_joint_problem(shape):
    """So a table of the neighbourhood is enough: what others are in and do makes no difference at all."""
    problem = Problem(shape)
    wanted = problem.values()
    found, errors = fixed_point(problem)
    assert errors[0] > 0.5
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    if shape == "line":
        for agent, other in ((0, 2), (2, 0)):
            flipped = JOINT.copy()
            flipped[:, other] ^= 1
            number = {tuple(z): place for place, z in enumerate(JOINT)}
            assert np.ptp(wanted[agent]) > 1
            np.testing.assert_allclose(wanted[agent], wanted[agent][[number[tuple(z)] for z in flipped]], atol=1e-13)


def every_episode(problem, horizon):
    """All that can happen where states follow from actions, as often as it is likely; the last step is never used."""
    lines = [(np.zeros(AGENTS, int),)]
    actions_of = [()]
    for _ in range(horizon + 1):
        grown, done = [], []
        last_step = len(actions_of[0]) == horizon
        for states, actions in zip(lines, actions_of, strict=True):
            options = [problem.tickets[k, states[-1][k]][: 1 if last_step else 4] for k in WHO]
            for chosen in itertools.product(*options):
                grown.append((*states, problem.moves[WHO, states[-1], chosen, 0]))
                done.append((*actions, np.array(chosen)))
        lines, actions_of = grown, done
    return np.array([line[:-1] for line in lines]), np.array(actions_of)


@pytest.mark.parametrize("critics", ["neighbours", "all", "own"])
def test_the_mean_of_all_that_can_happen_is_the_gradient_of_the_joint_problem(critics):
    """With the neighbours' critics exactly, as with all agents'; with an agent's own one it is another direction."""
    horizon, problem = 2, Problem(seed=0)
    problem.moves[..., 1] = problem.moves[..., 0]
    problem.kernel = np.stack([(problem.moves == s).mean(-1) for s in range(STATES)], axis=-1)
    problem.first = np.array([[1.0, 0.0]] * AGENTS)
    states, actions = every_episode(problem, horizon)
    to_go, values = problem.joint_rewards, []
    for _ in range(horizon):  # the last step first
        values.insert(0, to_go)
        to_go = problem.joint_rewards + DISCOUNT * to_go @ problem.joint_kernel(problem.policies).T
    number = {tuple(z): place for place, z in enumerate(JOINT)}
    at = np.array([[number[(*s[t], *a[t])] for t in range(horizon)] for s, a in zip(states, actions, strict=True)])
    heard_values = np.stack([values[t][:, at[:, t]].T for t in range(horizon)], axis=1)
    played = Episodes(*(jnp.asarray(x, jnp.int32) for x in (states, actions)), jnp.asarray(heard_values))
    heard = heard_critics(critics, problem.model().neighbours)
    found = jax.jit(lambda p: policy_gradient(p, played, jnp.asarray(heard_values), heard, DISCOUNT))(problem.policies)
    wanted = problem.slopes(horizon)
    wrong = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert wrong > 0.3 if critics == "own" else wrong < 1e-12, wrong


def test_the_exact_return_and_its_slope_are_those_of_the_joint_problem():
    problem, horizon = Problem(seed=2), 12
    model = problem.model()
    tables = make_tables(model)
    rewards = expected_rewards(tables, model)

    def worth(logits):
        policies = softmax_policies(logits, model.allowed)
        return discounted(mean_rewards(model, tables, rewards, policies, horizon), DISCOUNT)

    logits = np.log(problem.policies)
    value, slopes = jax.jit(jax.value_and_grad(worth))(logits)
    assert value == pytest.approx(problem.worth(logits, horizon), abs=1e-13)
    np.testing.assert_allclose(slopes, problem.slopes(horizon), atol=2e-11)


def sampled(problem, episodes=400, horizon=4):
    model = problem.model()
    key = jax.random.key(3)
    return model, jax.jit(lambda key: play(model, key, jnp.asarray(problem.policies), episodes, horizon))(key)


def learnt(model, played, sweeps=3):
    """What critics say of every step after a few steps on these same episodes."""

    def learning(played):
        entries = jax.vmap(lambda s, a: entries_of(model, s, a))(played.states, played.actions)
        values = jnp.zeros(make_tables(model).entries)
        for _ in range(sweeps):
            values, _ = learn_values(values, entries, played.rewards, DISCOUNT, jnp.float64(0.6))
        return values[entries[:, :-1]]

    return jax.jit(learning)(played)


def gradient(policies, model, played, critics):
    """Along these critics."""
    heard, values = heard_critics(critics, model.neighbours), learnt(model, played)
    return jax.jit(lambda *known: policy_gradient(*known, heard, DISCOUNT))(jnp.asarray(policies), played, values)


def test_agents_without_neighbours_learn_each_for_itself():
    """The same as three problems of one agent, but for the 1/n of the mean."""
    problem = Problem("alone")
    model, played = sampled(problem)
    together = gradient(problem.policies, model, played, "neighbours")
    np.testing.assert_array_equal(together, gradient(problem.policies, model, played, "own"))
    for k in WHO:
        alone = Model(np.ones((1, 1), bool), np.array([2]), model.first[k : k + 1], model.kernel[k : k + 1], *model[4:])
        own = Episodes(*(x[..., k : k + 1] for x in played))
        by_itself = gradient(problem.policies[k : k + 1], alone, own, "neighbours")
        np.testing.assert_allclose(together[k], by_itself[0] / AGENTS, atol=1e-15)


def test_where_all_are_neighbours_their_critics_are_one_central_critic():
    problem = Problem("complete")
    model, played = sampled(problem)
    at = learnt(model, played)
    states, actions, rewards = map(np.asarray, played)
    central = dict.fromkeys(map(tuple, JOINT), 0.0)
    for _ in range(3):
        errors = {}
        for e, t in np.ndindex(*rewards.shape[:2]):
            z, after = ((*states[e, u], *actions[e, u]) for u in (t, t + 1))
            errors.setdefault(z, []).append(rewards[e, t].sum() + DISCOUNT * central[after] - central[z])
        for z, of_it in errors.items():
            central[z] += 0.6 * np.mean(of_it)
    wanted = [[central[(*states[e, t], *actions[e, t])] for t in range(4)] for e in range(len(states))]
    np.testing.assert_allclose(np.asarray(at).sum(-1), wanted, atol=1e-12)
    np.testing.assert_allclose(
        gradient(problem.policies, model, played, "neighbours"), gradient(problem.policies, model, played, "all")
    )


def test_episodes_are_as_likely_as_the_joint_problem_says():
    """Counts of joint states and actions after two steps, against their probabilities."""
    problem = Problem(seed=4)
    _, played = sampled(problem, episodes=20_000, horizon=2)
    start = np.prod([problem.first[k, JOINT_STATES[:, k]] for k in WHO], axis=0)
    kernel = problem.joint_kernel(problem.policies)
    likely = start * problem.joint_policy(problem.policies) @ kernel @ kernel
    place = (np.concatenate([played.states[:, 2], played.actions[:, 2]], axis=1) * 2 ** np.arange(5, -1, -1)).sum(1)
    seen = np.bincount(place, minlength=64)
    possible = likely > 1e-12
    assert seen[~possible].sum() == 0
    chi_square = np.sum((seen - 20_000 * likely)[possible] ** 2 / (20_000 * likely)[possible])
    assert chi_square < possible.sum() + 5 * np.sqrt(2 * possible.sum())


def test_what_has_no_probability_is_never_chosen():
    """At the ends of [0, 1), and where rounding leaves the sum below 1, too."""
    rows = jnp.asarray([[0.0, 0.25, 0.25, 0.5, 0.0], [0.0, 0.0, 1e-300, 0.0, 0.0]])
    ends = np.array([0.0, 0.25, 0.5, np.nextafter(1, 0)])[:, None]
    chosen = jax.jit(jax.vmap(lambda chances: choose(chances, rows)))(np.broadcast_to(ends, (4, 2)))
    assert chosen.tolist() == [[1, 2], [2, 2], [3, 2], [3, 2]]
    tenths = jnp.asarray([0.1] * 10 + [0.0])
    assert jnp.cumsum(tenths)[-1] < 1
    assert choose(jnp.asarray(ends[-1, 0]), tenths) == 9


def test_neighbourhoods_have_both_directions():
    model = Problem().model()
    one_sided = graph.directed_ring(AGENTS) | np.eye(AGENTS, dtype=bool)
    for wrong in (one_sided, graph.line(AGENTS)):
        with pytest.raises(ValueError, match="neighbourhoods"):
            make_tables(model._replace(neighbours=wrong))
