"""The trajectory queue: a fixed number of lanes, and a lane whose episode ends takes the next one that waits.

A masked scan over the horizon computes what comes after an episode's end, too; early in training that is most of it.
Here lanes stay busy until nobody waits any more. The whole set of episodes is played to its end, and an episode depends
on its own key alone, so neither the lanes nor the order decide which episodes there are, or how they go.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from nigt_jax.environments import Variation, observed
from nigt_jax.policies import Policy
from nigt_jax.rollout._side_by_side import side_by_side


class Tasks(NamedTuple):
    """Episodes to play, and by what. They come in groups of equal size, and every group has its own policy.

    Attributes:
      keys: one an episode; it decides the episode's start and its actions.
      active: those that are False are not played.
      params: parameters of each group's policy; leaves have a leading axis of groups.
      normalizer: its observation statistics, likewise.
      variation: how each episode's environment differs, leaves [episodes]; None where none does.
      charge: what an episode of each group earns for every step that it misses because the physics broke.
    """

    keys: Key[Array, " episodes"]
    active: Bool[Array, " episodes"]
    params: Any
    normalizer: Any
    variation: Variation | None
    charge: Float[Array, " groups"]


class Outcomes(NamedTuple):
    """How the episodes went; zero for those that were not played.

    Attributes:
      returns: undiscounted, with what the steps that a broken episode misses are charged.
      lengths: lengths in steps.
      diverged: whether the physics ended it with a number that is not finite.
      row: when it began, in steps of its lane.
      lane: where it was played.
    """

    returns: Float[Array, " episodes"]
    lengths: Int[Array, " episodes"]
    diverged: Bool[Array, " episodes"]
    row: Int[Array, " episodes"]
    lane: Int[Array, " episodes"]


class Step(NamedTuple):
    """What happened in every lane in one step; zeros where a lane is idle."""

    observation: Float[Array, "lanes obs"]
    sample: Float[Array, "lanes sample"]
    reward: Float[Array, " lanes"]


class _Lanes(NamedTuple):
    """What every lane is doing.

    Leaves of `state` have a last axis of lanes, all others a leading one.

    Attributes:
      column: its number, whatever lanes are left beside it.
      busy: whether it has an episode.
      episode: which.
      time: steps of it that are done.
      earned: its return so far.
      key: key of its actions.
      state: the environment's state.
      variation: how its environment differs; None where none does.
      policy: (params, normalizer) of its group; () where there is only one group.
    """

    column: Int[Array, " lanes"]
    busy: Bool[Array, " lanes"]
    episode: Int[Array, " lanes"]
    time: Int[Array, " lanes"]
    earned: Float[Array, " lanes"]
    key: Key[Array, " lanes"]
    state: Any
    variation: Any
    policy: Any


class _Play(NamedTuple):
    """A set of episodes under way: rows and steps done, episodes taken so far, lanes, what is over, and the record."""

    row: Int[Array, ""]
    computed: Int[Array, ""]
    taken: Int[Array, ""]
    lanes: _Lanes
    outcomes: Outcomes
    record: Any


Write = Callable[[Any, Int[Array, ""], Int[Array, " lanes"] | None, Step], Any]
"""(record, row, columns, step) to the record with the step in it; the columns are None where a step has all of them."""


class _Game(NamedTuple):
    """What does not change while a set of episodes is played.

    Attributes:
      tasks: the episodes.
      pool: the environment's state at the start of each; the last axis is that of episodes.
      action_keys: key of each episode's actions.
      order: the order in which they are taken; those that are not played come last.
      number: number of episodes that are played.
      horizon: length at which an episode is cut.
      act: (policies of the lanes, observations, keys) to samples.
      action: what the environment gets of a sample.
      step: (variations, states, actions) to the states after, all with a last axis of lanes.
      write: keeps a step.
    """

    tasks: Tasks
    pool: Any
    action_keys: Key[Array, " episodes"]
    order: Int[Array, " episodes"]
    number: Int[Array, ""]
    horizon: int
    act: Callable[..., Float[Array, "lanes sample"]]
    action: Callable[..., Array]
    step: Callable[..., Any]
    write: Write


def most_rows(episodes: int, lanes: int, horizon: int) -> int:
    """Rows that are enough: of the lanes that are free first, one has had no more than an even share of the others."""
    return horizon * -(-episodes // lanes)


@jax.named_scope("queue")
def play(
    environment: Any,
    policy: Policy,
    tasks: Tasks,
    horizon: int,
    num_lanes: tuple[int, ...],
    write: Write,
    record: Any,
    *,
    lanes_last: bool,
) -> tuple[Outcomes, Int[Array, ""], Any]:
    """Plays all active episodes, each until it ends or has `horizon` steps.

    A step ends its episode where its reward, its `done` or the next observation is not finite, or the first observation
    was not: the policy is then shown zeros, so that its score has the expectation 0. That step, and all that follow it
    up to the horizon, earn the charge: to the policy it is as if every further step earned so much, so the gradient
    stays that of a well-defined problem.

    Args:
      environment: an environment without wrappers: those would reset to a cached state.
      policy: what acts.
      tasks: the episodes.
      horizon: length at which an episode is cut, in environment steps.
      num_lanes: numbers of lanes, descending. The first is that of the queue; once nobody waits and no more lanes are
        busy than the next width, the last episodes are played in as many.
      write: called with every step.
      record: what it starts with.
      lanes_last: see :func:`nigt_jax.rollout.side_by_side`.

    Returns:
      How the episodes went; the steps that all lanes have made, idle ones included; and the record.
    """
    chex.assert_equal_shape((tasks.keys, tasks.active))
    chex.assert_tree_shape_prefix((tasks.params, tasks.normalizer), tasks.charge.shape)
    chex.assert_is_divisible(tasks.keys.shape[0], tasks.charge.shape[0])
    game = _make_game(environment, policy, tasks, horizon, write, lanes_last)
    first, *narrower = num_lanes
    lanes = _begin(game, jnp.arange(first), jnp.arange(first))
    lanes = lanes._replace(policy=_policies(tasks, lanes.episode))
    zero = jnp.zeros([], jnp.int32)
    now = _Play(zero, zero, lanes.busy.sum(dtype=jnp.int32), lanes, _nothing(game.order.size), record)

    def queue(now: _Play) -> _Play:
        now, ended = _advance(game, now, None)
        return jax.lax.cond(jnp.any(ended), lambda now: _refill(game, now, ended), lambda now: now, now)

    def finish(now: _Play) -> _Play:
        now, ended = _advance(game, now, now.lanes.column)
        return now._replace(lanes=now.lanes._replace(busy=now.lanes.busy & ~ended))

    for body, width in zip([queue, *[finish] * len(narrower)], [*narrower, 0], strict=True):
        now = jax.lax.while_loop(functools.partial(_many, game.number, width), body, now)
        now = now._replace(lanes=_only_busy(now.lanes, width, nowhere=first)) if width else now
    return charged(tasks, now.outcomes, horizon), now.computed, now.record


def begin_all(
    environment: Any, policy: Policy, tasks: Tasks, horizon: int, write: Write, record: Any, *, lanes_last: bool
) -> Any:
    """All episodes at their starts, each in a lane of its own; arguments as of :func:`play`."""
    game = _make_game(environment, policy, tasks, horizon, write, lanes_last)
    number = tasks.keys.shape[0]
    lanes = _begin(game, jnp.arange(number), jnp.arange(number))
    lanes = lanes._replace(policy=_policies(tasks, lanes.episode))
    zero = jnp.zeros([], jnp.int32)
    return _Play(zero, zero, jnp.asarray(number, jnp.int32), lanes, _nothing(number), record)


def advance(
    environment: Any, policy: Policy, tasks: Tasks, horizon: int, write: Write, *, lanes_last: bool
) -> Callable[[Any], Any]:
    """One step of every lane, idle ones included; nobody takes another episode."""
    game = _make_game(environment, policy, tasks, horizon, write, lanes_last)

    def one(now: _Play) -> _Play:
        now, ended = _advance(game, now, None)
        return now._replace(lanes=now.lanes._replace(busy=now.lanes.busy & ~ended))

    return one


def missed(outcomes: Outcomes, horizon: int) -> Int[Array, " episodes"]:
    """Steps that an episode misses because the physics broke: the one that broke and all after it; 0 of all others."""
    return jnp.where(outcomes.diverged, horizon + 1 - outcomes.lengths, 0)


def charged(tasks: Tasks, outcomes: Outcomes, horizon: int) -> Outcomes:
    """The outcomes with what missed steps are charged."""
    charge = jnp.repeat(tasks.charge, outcomes.returns.size // tasks.charge.size)
    charged = charge * missed(outcomes, horizon).astype(jnp.float32)
    return outcomes._replace(returns=outcomes.returns + charged)


def _make_game(environment: Any, policy: Policy, tasks: Tasks, horizon: int, write: Write, lanes_last: bool) -> _Game:
    reset_keys, action_keys = jax.vmap(lambda k: tuple(jax.random.split(k)))(tasks.keys)
    reset, step = side_by_side(environment, lanes_last=lanes_last)
    return _Game(
        tasks=tasks,
        pool=jax.named_scope("reset")(reset)(tasks.variation, reset_keys),
        action_keys=action_keys,
        order=jnp.argsort(~tasks.active, stable=True),
        number=tasks.active.sum(dtype=jnp.int32),
        horizon=horizon,
        act=jax.named_scope("policy")(_actor(policy, tasks)),
        action=policy.action,
        step=jax.named_scope("physics")(step),
        write=write,
    )


def _begin(game: _Game, column: Array, place: Int[Array, " lanes"]) -> _Lanes:
    """Lanes at the start of the episodes in these places of the order."""
    episode = game.order[jnp.minimum(place, game.order.size - 1)]
    state, variation = jax.tree.map(lambda x: x[..., episode], (game.pool, game.tasks.variation))
    return _Lanes(
        column=column,
        busy=place < game.number,
        episode=episode,
        time=jnp.zeros_like(episode),
        earned=jnp.zeros(episode.shape),
        key=game.action_keys[episode],
        state=state,
        variation=variation,
        policy=(),
    )


def _advance(game: _Game, now: _Play, columns: Int[Array, " lanes"] | None) -> tuple[_Play, Bool[Array, " lanes"]]:
    """One step of every lane, and which episodes it has ended."""
    lanes = now.lanes
    seen = observed(lanes.state)
    in_order = jnp.all(jnp.isfinite(seen), axis=0)  # only a first observation may not be: after others the episode ends
    observation = jnp.where((lanes.busy & in_order)[:, None], seen.T.astype(float), 0)
    sample = game.act(lanes.policy, observation, jax.vmap(jax.random.fold_in)(lanes.key, lanes.time))
    state = game.step(lanes.variation, lanes.state, game.action(sample).T)
    earned, done = state.reward.astype(float), state.done.astype(float)
    finite = in_order & jnp.isfinite(earned) & jnp.isfinite(done) & jnp.all(jnp.isfinite(observed(state)), axis=0)
    reward = jnp.where(lanes.busy & finite, earned, 0)
    time = lanes.time + 1
    ended = lanes.busy & ((done > 0) | ~finite | (time == game.horizon))
    made = Step(observation, jnp.where(lanes.busy[:, None], sample, 0), reward)
    record = game.write(now.record, now.row, columns, made)
    lanes = lanes._replace(state=state, time=time, earned=lanes.earned + reward)

    def with_those_that_ended(outcomes: Outcomes) -> Outcomes:
        return _note(outcomes, lanes, ended, ended & ~finite, now.row)

    outcomes = jax.lax.cond(jnp.any(ended), with_those_that_ended, lambda outcomes: outcomes, now.outcomes)
    return _Play(now.row + 1, now.computed + lanes.busy.size, now.taken, lanes, outcomes, record), ended


def _refill(game: _Game, now: _Play, ended: Bool[Array, " lanes"]) -> _Play:
    """The next episodes for the lanes whose episodes have ended."""
    tasks = game.tasks
    place = jnp.where(ended, now.taken + jnp.cumsum(ended) - 1, game.number)
    fresh, before = _begin(game, now.lanes.column, place), now.lanes._replace(policy=())
    lanes = jax.tree.map(lambda new, old: _where(fresh.busy, new, old), fresh, before)
    change = _group_of(tasks, lanes.episode) != _group_of(tasks, before.episode)
    lanes = lanes._replace(
        busy=fresh.busy | (before.busy & ~ended),
        policy=_with_policies(tasks, now.lanes.policy, lanes.episode, change),
    )
    return now._replace(lanes=lanes, taken=now.taken + fresh.busy.sum(dtype=jnp.int32))


def _groups(tasks: Tasks) -> int:
    return jax.tree.leaves(tasks.params)[0].shape[0]


def _group_of(tasks: Tasks, episode: Int[Array, " lanes"]) -> Int[Array, " lanes"]:
    return episode // (tasks.keys.shape[0] // _groups(tasks))


def _policies(tasks: Tasks, episode: Int[Array, " lanes"]) -> Any:
    """The policy of each lane; () where there is only one for all."""
    group = _group_of(tasks, episode)
    return () if _groups(tasks) == 1 else jax.tree.map(lambda x: x[group], (tasks.params, tasks.normalizer))


def _with_policies(tasks: Tasks, policies: Any, episode: Int[Array, " lanes"], change: Bool[Array, " lanes"]) -> Any:
    """The policies of the lanes with those that change: one by one, for all of them are much to copy for a few."""
    if _groups(tasks) == 1:
        return ()
    lanes, group = jnp.nonzero(change, size=change.size, fill_value=0)[0], _group_of(tasks, episode)

    def put(number: Array, policies: Any) -> Any:
        lane = lanes[number]
        own = jax.tree.map(lambda x: x[group[lane]], (tasks.params, tasks.normalizer))
        return jax.tree.map(lambda all, new: all.at[lane].set(new), policies, own)

    return jax.lax.fori_loop(0, change.sum(), put, policies)


def _actor(policy: Policy, tasks: Tasks) -> Callable[..., Float[Array, "lanes sample"]]:
    """(policies of the lanes, observations, keys) to samples; one policy for all is applied at once."""
    if _groups(tasks) > 1:
        apart = jax.vmap(policy.sample)
        return lambda own, observation, keys: apart(own[0], own[1], observation, keys)
    params, normalizer = jax.tree.map(lambda x: x[0], (tasks.params, tasks.normalizer))
    together = jax.vmap(policy.sample, (None, None, 0, 0))
    return lambda own, observation, keys: together(params, normalizer, observation, keys)


def _note(
    outcomes: Outcomes, lanes: _Lanes, ended: Bool[Array, " lanes"], diverged: Bool[Array, " lanes"], row: Array
) -> Outcomes:
    """The outcomes with those of the episodes that end in this row."""
    episode = jnp.where(ended, lanes.episode, outcomes.returns.size)
    put = lambda column, values: column.at[episode].set(values, mode="drop")
    return Outcomes(
        returns=put(outcomes.returns, lanes.earned),
        lengths=put(outcomes.lengths, lanes.time),
        diverged=put(outcomes.diverged, diverged),
        row=put(outcomes.row, row + 1 - lanes.time),
        lane=put(outcomes.lane, lanes.column),
    )


def _nothing(episodes: int) -> Outcomes:
    whole = jnp.zeros(episodes, jnp.int32)
    return Outcomes(jnp.zeros(episodes), whole, jnp.zeros(episodes, bool), whole, whole)


def _only_busy(lanes: _Lanes, width: int, nowhere: int) -> _Lanes:
    """The busy lanes, `width` of them at most, and idle ones, in a column that is `nowhere`, to make up the number."""
    index = jnp.nonzero(lanes.busy, size=width, fill_value=0)[0]
    there = jnp.arange(width) < lanes.busy.sum()
    kept = jax.tree.map(lambda x: x[..., index], lanes._replace(policy=()))
    policy = jax.tree.map(lambda x: x[index], lanes.policy)
    return kept._replace(busy=there, column=jnp.where(there, kept.column, nowhere), policy=policy)


def _many(number: Int[Array, ""], width: int, now: _Play) -> Bool[Array, ""]:
    """Whether somebody still waits, or more than `width` lanes are busy."""
    return (now.taken < number) | (now.lanes.busy.sum() > width)


def _where(condition: Bool[Array, " lanes"], new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(*[1] * (new.ndim - 1), -1), new.astype(old.dtype), old)
