"""Trajectories: every one a fresh draw from reset, cut at the horizon, and counting nothing after its end."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.policies import Policy
from nigt_jax.rollout._queue import Outcomes, Step, Tasks, missed, most_rows, play

_LEAST = 64  # steps in a chunk, or a matrix product of them does not pay
_Carry = TypeVar("_Carry")


class Steps(NamedTuple):
    """Some steps of one group's episodes, one after the other.

    Attributes:
      observation: as the environment gave it, before the action.
      sample: what the policy drew, of which the action came.
      time: number of the step in its episode, from 0.
      episode: which, counted over all groups.
      valid: False for what is no step, and fills up the last chunk of a group.
    """

    observation: Float[Array, "steps obs"]
    sample: Float[Array, "steps sample"]
    time: Int[Array, " steps"]
    episode: Int[Array, " steps"]
    valid: Bool[Array, " steps"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Episodes as the lanes played them, in groups of equal size, one after the other.

    In a lane episodes follow each other without a gap: step t of episode e stands in row ``row[e] + t`` of its lane.

    Attributes:
      horizon: length at which an episode was cut; static, as the next two.
      chunk_size: steps that are looked at at once.
      groups: number of groups.
      outcomes: how each episode went; the length of one that was not played, or does not count, is 0.
      charge: what an episode of each group earns for every step that it misses because the physics broke; [groups].
      computed_steps: steps that all lanes have made, idle ones included.
      observation: each row's, as the environment gave it, before the action; [rows, lanes, obs].
      sample: what the policy drew, of which the action came; [rows, lanes, sample].
      reward: undiscounted; [rows, lanes].
    """

    horizon: int = dataclasses.field(metadata={"static": True})
    chunk_size: int = dataclasses.field(metadata={"static": True})
    groups: int = dataclasses.field(metadata={"static": True})
    # Any: JAX also builds trees whose leaves stand for arrays and are none.
    outcomes: Any
    charge: Any
    computed_steps: Any
    observation: Any
    sample: Any
    reward: Any

    @property
    def lengths(self) -> Int[Array, " episodes"]:
        """Steps of each episode."""
        return self.outcomes.lengths

    @property
    def returns(self) -> Float[Array, " episodes"]:
        """Undiscounted return of each episode, with what missed steps are charged."""
        return self.outcomes.returns

    def only(self, counted: Bool[Array, " episodes"]) -> "Trajectories":
        """The same without some of them: those are as if they had never begun."""
        kept = jax.tree.map(lambda x: jnp.where(counted, x, jnp.zeros_like(x)), self.outcomes)
        return dataclasses.replace(self, outcomes=kept)

    def of_full_length(self) -> "Trajectories":
        """The same as if every episode had `horizon` steps; what stands after an end is no step of it."""
        lengths = jnp.full_like(self.lengths, self.horizon)
        return dataclasses.replace(self, outcomes=self.outcomes._replace(lengths=lengths))

    def alive(self) -> Bool[Array, "time episodes"]:
        """Whether an episode has such a step; `time` is the horizon."""
        return jnp.arange(self.horizon)[:, None] < self.lengths[None, :]

    def rewards(self, discount: Float[Array, " groups"]) -> Float[Array, "time episodes"]:
        """Each episode's rewards from its start; zero after its end.

        Where the physics broke, the last one is what all missed steps are charged, discounted to it: no estimator has
        to know of steps that are not there, and none sees but a part of the charge.

        Args:
          discount: each group's discount factor, per step.
        """
        steps = jnp.arange(self.horizon, dtype=jnp.float32)
        worth = jnp.cumsum(discount[None, :] ** steps[:, None], axis=0)  # of 1, 2, ... steps at a reward of 1
        group = jnp.arange(self.lengths.size) // (self.lengths.size // self.groups)
        missing = missed(self.outcomes, self.horizon)
        charged = jnp.where(missing > 0, self.charge[group] * worth[missing - 1, group], 0)
        at_the_end = jnp.arange(self.horizon)[:, None] == self.lengths[None, :] - 1
        return self.earned() + jnp.where(at_the_end, charged[None, :], 0)

    def earned(self) -> Float[Array, "time episodes"]:
        """Each episode's rewards as the environment gave them; zero after its end, and for a step that broke."""
        row, lane = self._places()
        last = self.reward.shape[0] - 1
        return jnp.where(self.alive(), self.reward[jnp.minimum(row, last), lane], 0)

    def with_earned(self, rewards: Float[Array, "time episodes"]) -> "Trajectories":
        """The same with other rewards of the steps that there are."""
        row, lane = self._places()
        row = jnp.where(self.alive(), row, self.reward.shape[0])
        return dataclasses.replace(self, reward=self.reward.at[row, lane].set(rewards, mode="drop"))

    def lowest(self) -> Float[Array, " groups"]:
        """Each group's lowest reward in an episode that did not break, or 0: before the physics breaks it explodes."""
        whole = jnp.where(self.outcomes.diverged[None, :], 0, self.earned())
        return jnp.minimum(whole.min(axis=0).reshape(self.groups, -1).min(axis=1), 0)

    def fold(self, function: Callable[[Int[Array, ""], _Carry, Steps], _Carry], carry: _Carry) -> _Carry:
        """Goes through all steps that there are, group by group, a chunk at a time.

        Nothing else is computed, but for what fills up the last chunk of each group; so chunks are an eighth of what a
        group may have, or less.

        Args:
          function: (group, what has come of it so far, steps of it) to what comes of it then.
          carry: what to begin with; leaves have a leading axis of groups.

        Returns:
          The same after all steps. The order of the steps, and so the rounding, does not depend on the lanes.
        """
        each = self.lengths.size // self.groups
        size = min(self.chunk_size, max(_LEAST, -(-each * self.horizon // 8)))
        ends = jnp.cumsum(self.lengths.reshape(self.groups, each), axis=1)
        chunks = jnp.cumsum((ends[:, -1] + size - 1) // size)  # of each group and all before it

        def chunk(number: Array, carry: _Carry) -> _Carry:
            group = jnp.searchsorted(chunks, number, side="right")
            own = number - jnp.where(group > 0, chunks[group - 1], 0)
            steps = self._steps(group, ends[group], own * size + jnp.arange(size))
            new = function(group, jax.tree.map(lambda x: x[group], carry), steps)
            return jax.tree.map(lambda x, n: jax.lax.dynamic_update_index_in_dim(x, n, group, 0), carry, new)

        return jax.lax.fori_loop(0, chunks[-1], chunk, carry)

    def totals(self, function: Callable[[Int[Array, ""], Steps], Float[Array, " steps"]]) -> Float[Array, " episodes"]:
        """The sum over each episode of a number of every step; 0 of an episode without any.

        Args:
          function: (group, steps of it) to their numbers.
        """
        each = self.lengths.size // self.groups

        def add(group: Array, total: Array, steps: Steps) -> Array:
            return total.at[steps.episode - group * each].add(jnp.where(steps.valid, function(group, steps), 0))

        return self.fold(add, jnp.zeros((self.groups, each))).reshape(-1)

    def _places(self) -> tuple[Int[Array, "time episodes"], Int[Array, "time episodes"]]:
        """Row and lane of each episode's steps; what follows its last one is another's, or beyond the last row."""
        row = self.outcomes.row[None, :] + jnp.arange(self.horizon)[:, None]
        return row, jnp.broadcast_to(self.outcomes.lane[None, :], row.shape)

    def _steps(self, group: Int[Array, ""], ends: Int[Array, " each"], number: Int[Array, " steps"]) -> Steps:
        """A group's steps of these numbers, counted from its first episode's first one."""
        valid = number < ends[-1]
        own = jnp.minimum(jnp.searchsorted(ends, number, side="right"), ends.size - 1)
        time = jnp.where(valid, number - jnp.where(own > 0, ends[own - 1], 0), 0)
        episode = group * ends.size + own
        at = self.outcomes.row[episode] + time, self.outcomes.lane[episode]
        # Zeros for what is no step: what stands there may be another group's, and not finite.
        observation, sample = (jnp.where(valid[:, None], x[at], 0) for x in (self.observation, self.sample))
        return Steps(observation, sample, time, episode, valid)


def rollout(
    environment: Any,
    policy: Policy,
    tasks: Tasks,
    horizon: int,
    num_lanes: tuple[int, ...],
    chunk_size: int = 2**11,
    *,
    lanes_last: bool,
) -> Trajectories:
    """Plays all active episodes, each until it ends or has `horizon` steps, and keeps every step.

    Memory is that of `horizon` steps for every episode, and of every episode's first state.

    Args:
      environment: an environment without wrappers: those would reset to a cached state.
      policy: what acts.
      tasks: the episodes.
      horizon: length at which an episode is cut, in environment steps.
      num_lanes: numbers of lanes, descending. The first is that of the queue; once nobody waits and no more lanes are
        busy than the next width, the last episodes are played in as many.
      chunk_size: steps that are looked at at once when there is something to be computed of all of them.
      lanes_last: see :func:`nigt_jax.rollout.side_by_side`.

    Returns:
      The episodes. They do not depend on the lanes, but for the rounding of matrix products of other num_lanes.
    """
    episodes, lanes = tasks.keys.shape[0], num_lanes[0]
    rows = most_rows(episodes, lanes, horizon)
    empty = Step(
        observation=jnp.zeros((rows, lanes, policy.observation_size)),
        sample=jnp.zeros((rows, lanes, policy.sample_size)),
        reward=jnp.zeros((rows, lanes)),
    )
    outcomes, computed_steps, record = play(
        environment, policy, tasks, horizon, num_lanes, write_all, empty, lanes_last=lanes_last
    )
    return Trajectories(horizon, chunk_size, tasks.charge.size, outcomes, tasks.charge, computed_steps, *record)


def play_only(
    environment: Any, policy: Policy, tasks: Tasks, horizon: int, num_lanes: tuple[int, ...], *, lanes_last: bool
) -> tuple[Outcomes, Int[Array, ""]]:
    """Plays episodes and keeps no step of them: how they went, and the steps that all lanes have made."""
    return play(environment, policy, tasks, horizon, num_lanes, _keep_nothing, (), lanes_last=lanes_last)[:2]


def _keep_nothing(record: Any, row: Any, columns: Any, step: Step) -> tuple[()]:
    del record, row, columns, step
    return ()


def write_all(record: Step, row: Int[Array, ""], columns: Int[Array, " lanes"] | None, step: Step) -> Step:
    """Keeps every step, row by row; see :data:`nigt_jax.rollout._queue.Write`."""
    if columns is None:
        return jax.tree.map(lambda all, new: jax.lax.dynamic_update_index_in_dim(all, new, row, 0), record, step)
    return jax.tree.map(lambda all, new: all.at[row, columns].set(new, mode="drop"), record, step)
