"""REC-MARL as a system: its state, its iterations, and what they are compared with."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.clocks import ClockState
from nigt_jax.config.systems import RecMarlAccessConfig, RecMarlPowerConfig, SystemConfig
from nigt_jax.records import Record
from nigt_jax.related._lockstep import Lockstep
from nigt_jax.related._system import Counted, Scalars
from nigt_jax.related.rec_marl.access import access_model, make_points
from nigt_jax.related.rec_marl.baselines import BestAloha, best_aloha, search_levels
from nigt_jax.related.rec_marl.exact import discounted, mean_rewards
from nigt_jax.related.rec_marl.model import Episodes, Model, play, softmax_policies
from nigt_jax.related.rec_marl.power import make_radio, power_model, straight_to
from nigt_jax.related.rec_marl.tables import entry, expected_rewards, make_tables
from nigt_jax.related.rec_marl.update import heard_critics, learn_values, policy_gradient


class RecMarlState(NamedTuple):
    """What goes on from one iteration to the next.

    Attributes:
      iteration: how many there were.
      logits: of all agents' policies.
      values: all agents' critics, one after the other.
      key: of the next iteration's episodes.
      clock: simulated time.
    """

    iteration: Int[Array, ""]
    logits: Float[Array, "agents states actions"]
    values: Float[Array, " entries"]
    key: PRNGKeyArray
    clock: ClockState


class _RecMarl:
    """What both networks share. Its reference values are computed when it is made, in 64 bits.

    Args:
      config: its configuration.
      model: what happens among the agents.
    """

    x64 = True
    headline = "return_mean"
    config: SystemConfig

    def __init__(self, config: RecMarlAccessConfig | RecMarlPowerConfig, model: Model):
        self.config, self._method = config, config.method
        self.model, self.tables = model, make_tables(model)
        self._rewards = expected_rewards(self.tables, model)
        self._heard = heard_critics(config.method.critics, model.neighbours)
        _, states, actions = model.kernel.shape[:3]
        self._lockstep = Lockstep(config.workers, states * actions + max(map(np.size, self._rewards)))

    def begin(self, key: PRNGKeyArray) -> RecMarlState:
        """Even policies, and critics that know nothing."""
        playing, timing = jax.random.split(key)
        return RecMarlState(
            iteration=jnp.zeros([], jnp.int32),
            logits=jnp.zeros(self.model.kernel.shape[:3]),
            values=jnp.zeros(self.tables.entries),
            key=playing,
            clock=self._lockstep.begin(timing),
        )

    def step(self, state: RecMarlState) -> tuple[RecMarlState, Counted, Scalars]:
        """Episodes, then a step of all critics, then one of all policies."""
        method = self._method
        playing, later = jax.random.split(state.key)
        policies = softmax_policies(state.logits, self.model.allowed)
        played = play(self.model, playing, policies, method.episodes, method.horizon)
        logits, values, errors = self.learn(state, policies, played)
        clock = self._lockstep.step(state.clock)
        after = RecMarlState(state.iteration + 1, logits, values, later, clock)
        returns = jax.vmap(lambda rewards: discounted(rewards.mean(-1), method.discount))(played.rewards)
        return after, self._counted(clock), {"sampled_return": returns.mean(), "td_error": errors}

    def learn(
        self, state: RecMarlState, policies: Float[Array, "agents states actions"], played: Episodes
    ) -> tuple[Array, Array, Array]:
        """Logits and critics after an iteration with these episodes, and the root mean square of TD errors."""
        method, passed = self._method, state.iteration.astype(jnp.float64)
        critic_step = method.critic_step / jnp.sqrt(1 + passed / method.critic_decay)
        actor_step = method.actor_step / jnp.sqrt(1 + passed / method.actor_decay)
        entry_of = functools.partial(entry, self.tables, self.model)
        entries = jax.vmap(jax.vmap(entry_of))(played.states, played.actions)
        values, errors = learn_values(state.values, entries, played.rewards, method.discount, critic_step)
        heard = values[entries[:, :-1]]
        gradient = policy_gradient(policies, played, heard, self._heard, method.discount)
        return state.logits + actor_step * gradient, values, errors

    def _counted(self, clock: ClockState) -> Counted:
        """Neighbours tell each other what they are in and do in every step, and whose critic is climbed its value."""
        method, agents = self._method, self.model.agents
        doing = method.episodes * (method.horizon + 1) * (int(self.model.neighbours.sum()) - agents)
        values = method.episodes * method.horizon * (int(self._heard.sum()) - agents)
        whole = lambda number: jnp.asarray(number, jnp.int32)
        return Counted(
            gradients=whole(agents),
            env_steps=whole(method.episodes * method.horizon * agents),
            messages=whole(doing + values),
            numbers=whole(2 * doing + values),
            time=clock.now,
        )

    def rewards(self, policies: Float[Array, "agents states actions"]) -> Float[Array, " horizon"]:
        """The agents' mean expected reward in each step of an episode; no sampling."""
        return mean_rewards(self.model, self.tables, self._rewards, policies, self._method.horizon)

    def worth(self, policies: Float[Array, "agents states actions"]) -> Float[Array, ""]:
        """The mean expected return of an agent in an episode; no sampling."""
        return discounted(self.rewards(policies), self._method.discount)

    def evaluate(self, state: RecMarlState) -> Scalars:
        """The mean expected return of an agent, and its mean expected reward in the last step; no sampling."""
        rewards = self.rewards(softmax_policies(state.logits, self.model.allowed))
        return {"return_mean": discounted(rewards, self._method.discount), "reward_last": rewards[-1]}


class RecMarlAccess(_RecMarl):
    """Users that share access points.

    Args:
      config: its configuration.

    Attributes:
      aloha: the best ALOHA.
    """

    def __init__(self, config: RecMarlAccessConfig):
        with jax.enable_x64(True):
            points = make_points(config.access, np.random.default_rng(config.seed))
            super().__init__(config, access_model(config.access, points))
            self.aloha: BestAloha = best_aloha(points, 2**config.access.deadline, self.worth)

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """The return beside that of the best ALOHA."""
        reached, other = records[-1]["return_mean"], self.aloha
        rest = f"{abs(reached / other.value - 1):.1%} {'above' if reached >= other.value else 'below'} the best ALOHA's"
        critics = self._method.critics
        return [
            ("return", f"{reached:.4f} of a user, with critics of {critics}: {rest}"),
            ("best ALOHA", f"{other.value:.4f}, which sends with probability {other.send:.2f}"),
        ]


class RecMarlPower(_RecMarl):
    """Radio links that disturb each other.

    Args:
      config: its configuration.

    Attributes:
      search: the best joint levels of power, and the equilibria.
      best: the return of going straight to the best levels.
      selfish: the same for the best equilibrium; None where there is none.
    """

    def __init__(self, config: RecMarlPowerConfig):
        with jax.enable_x64(True):
            radio = make_radio(config.power, config.workers.count, np.random.default_rng(config.seed))
            super().__init__(config, power_model(radio))
            self.search = search_levels(self.tables, self._rewards, config.power.levels)
            self.best = self._straight_to(self.search.best.levels)
            equilibria = self.search.equilibria
            self.selfish = self._straight_to(equilibria[0].levels) if equilibria else None

    def _straight_to(self, levels: Int[np.ndarray, " links"]) -> float:
        return float(self.worth(jnp.asarray(straight_to(levels, self.model.kernel.shape[1]))))

    def results(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        """Return and last reward beside those of the best levels of all, and of the equilibrium of selfish links."""
        reached, last = records[-1]["return_mean"], records[-1]["reward_last"]
        best, equilibria = self.search.best, self.search.equilibria
        lines = [
            ("return", f"{reached:.4f} of a link, with critics of {self._method.critics}"),
            ("brute force", f"{self.best:.4f}, straight to the best levels of all; reached {reached / self.best:.1%}"),
            ("last reward", f"{last:.4f} of a link; {best.value:.4f} at the best levels"),
        ]
        if self.selfish is None:
            return [*lines, ("equilibrium", "none: at all joint levels some link would leave by itself")]
        rest = f"{self.selfish:.4f}, straight there; {equilibria[0].value:.4f} a step"
        return [*lines, ("equilibrium", f"{rest}; of selfish links, {len(equilibria)} in all")]
