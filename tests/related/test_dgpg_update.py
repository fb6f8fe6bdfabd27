"""An update against NumPy in float64, where guidance makes no difference, where it alone decides, and whole runs."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from nigt_jax.config.systems import CloudConfig, DgpgConfig, DgpgEvaluation, DgpgMethod, DgpgTraining, agents
from nigt_jax.keys import with_keys, without_keys
from nigt_jax.related.dgpg import Dgpg
from nigt_jax.related.dgpg.cloud import Cloud
from nigt_jax.related.dgpg.ppo import advantages, begin_statistics, standardised, with_returns
from nigt_jax.related.dgpg.update import Update

AGENTS, STEPS, EPISODES = 3, 5, 2


def config(algorithm="dgpg", **method):
    small = {"episodes": EPISODES, "epochs": 2, "minibatches": 2, "hidden_sizes": (4,)}
    return DgpgConfig(
        workers=agents(AGENTS),
        environment=CloudConfig(steps=STEPS),
        method=DgpgMethod(algorithm=algorithm, **small | method),
        training=DgpgTraining(iterations=6),
        evaluation=DgpgEvaluation(episodes=4),
    )


@functools.cache
def played(central):
    """A learner that has learnt a little, and what it played."""
    section = config("mappo" if central else "ippo")
    update = Update(section.method, Cloud(section.environment, AGENTS))
    learner, rng = jax.jit(update.begin)(jax.random.key(0)), np.random.default_rng(0)
    moved = lambda x: jnp.asarray(np.asarray(x) + 0.3 * rng.normal(size=x.shape), jnp.float32)
    learner = learner._replace(
        actor=jax.tree.map(moved, learner.actor),
        critic=jax.tree.map(moved, learner.critic),
        statistics=with_returns(begin_statistics(), jnp.asarray([-3.0, -5.0, -9.0])),
    )
    return learner, jax.jit(update.collect)(learner.actor, jax.random.key(1))


def updated(algorithm, noise=0.4, **method):
    """An update, a learner, and a batch; with noise on its log probabilities, so that some ratios are clipped."""
    section = config(algorithm, **{"epochs": 1, "minibatches": 1} | method)
    learner, batch = played(algorithm != "ippo")
    apart = jnp.asarray(noise * np.random.default_rng(2).normal(size=batch.before.shape), jnp.float32)
    update = Update(section.method, Cloud(section.environment, AGENTS))
    return section.method, update, learner, batch._replace(before=batch.before + apart)


def network(leaves, inputs):
    """Of one hidden layer, from arrays in the order of their names: biases before kernels, Dense_0 before logits."""
    bias, kernel, last_bias, last_kernel = leaves
    return (np.tanh(inputs @ kernel + bias) @ last_kernel + last_bias)[..., 0]


def slopes(loss, leaves):
    """The gradient by central differences."""
    found = []
    for k, leaf in enumerate(leaves):
        gradient = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            both = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in leaves]
                moved[k][index] += step
                both.append(loss(moved))
            gradient[index] = (both[0] - both[1]) / 2e-5
        found.append(gradient)
    return found


def gae_in_loops(reward, value, discount, decay):
    wanted = np.zeros_like(value)
    for t in range(len(reward)):
        for later in range(t, len(reward)):
            following = value[later + 1] if later + 1 < len(reward) else 0.0
            wanted[t] += (discount * decay) ** (later - t) * (reward[later] + discount * following - value[later])
    return wanted


def update_in_numpy(method, learner, batch, weight):
    """Gradients of both networks for one minibatch of everything, and the statistics after."""
    b = jax.tree.map(lambda x: np.asarray(x, np.float64), batch)
    weight_sum, mean, square = (float(x) for x in learner.statistics)
    centre = mean / weight_sum
    unit = np.sqrt(square / weight_sum - centre**2)
    actor, critic = ([np.asarray(x, np.float64) for x in jax.tree.leaves(p)] for p in (learner.actor, learner.critic))
    value = centre + unit * network(critic, b.summary)
    gained = np.zeros_like(value)
    for v in range(value.shape[2]):
        gained[..., v] = gae_in_loops(b.reward, value[..., v], method.discount, method.gae_lambda)
    target = gained + value
    seen = [1, target.mean(), (target**2).mean()]
    after = [0.9 * old + 0.1 * new for old, new in zip((weight_sum, mean, square), seen, strict=True)]
    target = (target - after[1] / after[0]) / np.sqrt(after[2] / after[0] - (after[1] / after[0]) ** 2)
    acts = b.acts == 1

    def standard(x):
        chosen = np.broadcast_to(x, acts.shape)[acts]
        return (chosen - chosen.mean()) / chosen.std()

    advantage = standard(gained)
    if method.algorithm == "dgpg":
        advantage = (1 - weight) * advantage - weight * standard(b.guidance)

    def actor_loss(leaves):
        logits = network(leaves, b.seen)[acts]
        probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        taken = probability[np.arange(len(logits)), b.action[acts].astype(int)]
        ratio = taken / np.exp(b.before[acts])
        gain = np.minimum(ratio * advantage, np.clip(ratio, 1 - method.clip, 1 + method.clip) * advantage)
        return -gain.mean() + method.entropy_weight * (probability * np.log(probability)).sum(1).mean()

    critic_loss = lambda leaves: 0.5 * np.mean((network(leaves, b.summary) - target) ** 2)
    return slopes(actor_loss, actor), slopes(critic_loss, critic), after


def clipped(gradient, most):
    norm = np.sqrt(sum((g**2).sum() for g in gradient))
    return [g * min(1, most / norm) for g in gradient]


@pytest.mark.parametrize(("algorithm", "most"), [("dgpg", 100.0), ("dgpg", 0.05), ("mappo", 100.0), ("ippo", 100.0)])
def test_an_update_of_one_minibatch_is_that_of_numpy(algorithm, most):
    """The moments that Adam keeps are the gradients; its first step from fresh moments follows from them."""
    method, update, learner, batch = updated(algorithm, max_gradient_norm=most, entropy_weight=0.03)
    assert 0 < np.asarray(batch.acts).sum() < batch.acts.size
    after, quality = jax.jit(update)(learner, batch, jnp.asarray(0.6, jnp.float32), jax.random.key(3))
    actor, critic, statistics = update_in_numpy(method, learner, batch, 0.6)
    assert 0 < float(quality.clipped) < 1
    np.testing.assert_allclose(after.statistics, statistics, rtol=1e-5)
    for before, now, adam, gradient, rate in (
        (learner.actor, after.actor, after.actor_adam, actor, method.actor_learning_rate),
        (learner.critic, after.critic, after.critic_adam, critic, method.critic_learning_rate),
    ):
        gradient = clipped(gradient, most)
        largest = max(np.abs(g).max() for g in gradient)
        (moments,) = (part for part in jax.tree.leaves(adam, is_leaf=lambda x: hasattr(x, "mu")) if hasattr(part, "mu"))
        for old, new, moment, g in zip(*map(jax.tree.leaves, (before, now, moments.mu)), gradient, strict=True):
            np.testing.assert_allclose(moment / 0.1, g, rtol=2e-3, atol=1e-4 * largest)
            clear = np.abs(g) > 1e-2 * largest
            np.testing.assert_allclose((new - old)[clear], (-rate * np.sign(g))[clear], rtol=2e-3)


def test_advantages_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, 7, 3, 2))
    found = jax.jit(lambda r, v: advantages(r, v, 0.9, 0.8))(*(jnp.asarray(x, jnp.float32) for x in (reward, value)))
    np.testing.assert_allclose(found, gae_in_loops(reward, value, 0.9, 0.8), atol=1e-5)


def test_only_those_who_act_are_standardised():
    x, acts = jnp.asarray([1.0, 5.0, 100.0, 3.0]), jnp.asarray([True, True, False, True])
    np.testing.assert_allclose(jax.jit(standardised)(x, acts), [-np.sqrt(1.5), np.sqrt(1.5), 0, 0], atol=1e-6)
    assert not np.asarray(standardised(jnp.zeros(4), acts)).any()
    assert not np.asarray(standardised(x, jnp.zeros(4, bool))).any()


def test_statistics_of_returns_forget_and_begin_without_bias():
    statistics = begin_statistics()
    assert (float(statistics.centre()), float(statistics.unit())) == (0, 1)
    statistics = with_returns(statistics, jnp.asarray([2.0, 4.0]))
    assert float(statistics.centre()) == pytest.approx(3, rel=1e-5)
    assert float(statistics.unit()) == pytest.approx(1, rel=1e-4)
    statistics = with_returns(statistics, jnp.asarray([10.0, 10.0]))
    assert float(statistics.centre()) == pytest.approx((0.9 * 3 + 10) / 1.9, rel=1e-5)


def numbers(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(tree))])


def test_an_update_without_weight_is_mappos_to_the_bit():
    """And with some it is not."""
    _, guided, learner, batch = updated("dgpg", epochs=3, minibatches=2)
    _, mappo, *_ = updated("mappo", epochs=3, minibatches=2)
    compiled, ends = jax.jit(guided), {}
    for weight in (0.0, 0.5):
        ends[weight], _ = compiled(learner, batch, jnp.asarray(weight, jnp.float32), jax.random.key(3))
    ends["mappo"], _ = jax.jit(mappo)(learner, batch, jnp.asarray(0.5, jnp.float32), jax.random.key(3))
    chex.assert_trees_all_equal(ends[0.0], ends["mappo"])
    assert np.abs(numbers(ends[0.5].actor) - numbers(ends["mappo"].actor)).max() > 1e-3
    chex.assert_trees_all_equal(ends[0.5].critic, ends["mappo"].critic)


def after_updates(system, updates):
    one = lambda state, _: (system.step(state)[0], None)
    return jax.jit(lambda state: jax.lax.scan(one, state, None, updates)[0])(system.begin(jax.random.key(5)))


@pytest.mark.slow  # an update is compared above
def test_a_run_without_weight_is_mappos_to_the_bit():
    systems = Dgpg(config(guidance_start=0.0, guidance_end=0.0)), Dgpg(config("mappo"))
    unguided, mappo = (after_updates(system, 3) for system in systems)
    chex.assert_trees_all_equal(unguided.learner, mappo.learner)


@pytest.mark.parametrize("influence", [0.0, 1.0])
def test_with_guidance_alone_nobody_moves_where_nothing_has_an_influence(influence):
    _, update, learner, batch = updated("dgpg", entropy_weight=0.0)
    batch = batch._replace(guidance=influence * batch.guidance)
    after, _ = jax.jit(update)(learner, batch, jnp.ones([]), jax.random.key(3))
    moved = [
        any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for pair in ((learner.actor, after.actor), (learner.critic, after.critic))
    ]
    assert moved == [influence > 0, True]


def test_guidance_makes_crowded_servers_less_probable():
    """One step of guidance alone, against the sign: what has a high g becomes less probable."""
    _, update, learner, batch = updated("dgpg", noise=0.0, entropy_weight=0.0)
    after, _ = jax.jit(update)(learner, batch, jnp.ones([]), jax.random.key(3))

    def log_probability(actor):
        logits = network([np.asarray(x, np.float64) for x in jax.tree.leaves(actor)], np.asarray(batch.seen))
        chosen = np.take_along_axis(logits, np.asarray(batch.action)[..., None], -1)[..., 0]
        return chosen - np.log(np.exp(logits).sum(-1))

    rose = (log_probability(after.actor) - log_probability(learner.actor))[np.asarray(batch.acts)]
    guidance = np.asarray(batch.guidance)[np.asarray(batch.acts)]
    assert np.mean(rose * (guidance - guidance.mean())) < 0


@pytest.fixture(scope="module")
def short_run():
    """A system, its compiled step, and what four iterations of it gave."""
    # A run of six: how long it is does not decide the weight, since a run may be made longer.
    system = Dgpg(config(guidance_start=0.8, guidance_end=0.2, guidance_updates=4, actor_learning_rate=0.1))
    step, played = jax.jit(system.step), [(jax.jit(system.begin)(jax.random.key(5)), None, None)]
    for _ in range(4):
        played.append(step(played[-1][0]))
    return system, step, played


def test_a_run_counts_what_it_uses(short_run):
    """And the weight goes down."""
    _, _, played = short_run
    weights = [scalars["guidance_weight"] for _, _, scalars in played[1:]]
    np.testing.assert_allclose(weights, [0.8, 0.6, 0.4, 0.2], rtol=1e-6)
    parameters = (8 + 1) * 4 + 4 + 1
    for k, (state, counted, _) in enumerate(played[1:], 1):
        assert [int(x) for x in counted[:4]] == [1, STEPS * EPISODES, AGENTS, AGENTS * parameters]
        assert float(counted.time.high) == float(state.clock.now.high) == k
        assert int(state.iteration) == k


def test_a_run_goes_on_as_if_nothing_had_happened(short_run):
    """From what a checkpoint keeps of a state: arrays on the host, and keys as numbers."""
    _, step, played = short_run
    kept = jax.device_get(without_keys(played[2][0]))
    state = with_keys(jax.tree.map(jnp.asarray, kept), played[2][0])
    for _ in range(2):
        state, *_ = step(state)
    chex.assert_trees_all_equal(without_keys(state), without_keys(played[4][0]))


def test_evaluations_and_results(short_run):
    """The same every time; rivals have the same tasks; and what is said in the end is what was computed."""
    system, _, played = short_run
    evaluate = jax.jit(system.evaluate)
    first, last = evaluate(played[0][0]), evaluate(played[4][0])
    chex.assert_trees_all_equal(last, evaluate(played[4][0]._replace(key=jax.random.key(77))))
    assert first["greedy_return"] == last["greedy_return"] > last["random_return"] == first["random_return"]
    assert first["return_mean"] != last["return_mean"]
    records = [{name: float(x) for name, x in of.items()} for of in (first, last)]
    lines = dict(system.results(records))
    assert f"dgpg {records[1]['return_mean']:.4g}, before training {records[0]['return_mean']:.4g}" in lines["return"]
    assert f"greedy {records[1]['greedy_return']:.4g}" in lines["rivals"]
    shared, guidance = (float(lines["variance"].split(f"{name} ")[-1].split(",")[0]) for name in ("cost", "guidance"))
    assert (shared, guidance) == pytest.approx((8 / 18, 8 / 27), rel=0.1)


@pytest.mark.slow  # seconds of training
def test_it_learns():
    own = dataclasses.replace(
        config(), method=DgpgMethod(guidance_updates=15), environment=CloudConfig(), workers=agents(AGENTS)
    )
    system = Dgpg(dataclasses.replace(own, training=DgpgTraining(iterations=15)))
    state = after_updates(system, 15)
    before, now = (float(jax.jit(system.evaluate)(s)["return_mean"]) for s in (system.begin(jax.random.key(5)), state))
    assert now > 0.3 * before


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        ("environment", CloudConfig(arrival_swing=0.4), "environment.arrival_swing: got 0.4 around 0.7, .* 0.3"),
        ("workers", agents(1), "workers.count: got 1, allowed: 2 to 2000"),
        ("workers", agents(2001), "workers.count: got 2001, allowed: 2 to 2000"),
        ("method", DgpgMethod(minibatches=3), "method.minibatches: got 3, allowed: .* 320 steps"),
        ("method", DgpgMethod(episodes=100_000, minibatches=1), "method.episodes: got 100000 .* up to 1000000"),
    ],
)
def test_what_does_not_fit_together_is_refused(section, given, message):
    if message.startswith("method.episodes"):
        DgpgConfig(method=given)
        with pytest.raises(ValidationError, match=r"method.episodes: got 100000 of 40 steps for 200 agents"):
            DgpgConfig(method=given, workers=agents(200))
        return
    with pytest.raises(ValidationError, match=message):
        DgpgConfig(**{section: given})
